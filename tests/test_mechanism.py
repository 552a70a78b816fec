"""Looks into the model, each against the plain model: activations, attention weights, patched outputs, updates, worst edits."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from conftest import FACTS
from onemask.io.batching import Journal, Work
from onemask.masking.masks import Mask
from onemask.measuring import perplexity
from onemask.measuring.mechanism import activations, attention, decomposition, patching
from onemask.measuring.perplexity import collapse, mean_nll
from onemask.measuring.reversal import reversal
from onemask.measuring.states import in_state, shown
from onemask.measuring.update_magnitude import by_edit, magnitude
from onemask.model.edits import FactoredEdits, JointEdit, LayerEdits
from onemask.model.scoring import probe, score
from onemask.model.tokens import encode_with_subject, prompt_ids
from onemask.summaries import mechanism
from test_algebra import LAYER, DenseWeight, some_edits, some_mask
from tiny_model import object_ids

FRAME = pd.DataFrame(FACTS)
SMALL = Work(30)  # tokens a batch: several batches


def states(model, edits: LayerEdits):
    keep = some_mask(model)
    return shown(edits, Mask(LAYER, keep, keep.float()))


def dense(model, row: int, state: str):
    """The plain model with one fact's state of the layer put into its weights."""
    weight = model.weight(LAYER).clone()
    found = weight if state == "original" else weight + some_edits(model).dense(row)
    return DenseWeight(model, LAYER, found * some_mask(model) if state == "shared" else found)


def together(model) -> LayerEdits:
    """One edit of all facts in two layers."""
    edits = some_edits(model)
    other = FactoredEdits(LAYER - 1, edits.u.flip(0), 0.3 * edits.r.flip(0))
    return LayerEdits(JointEdit(LAYER, edits.sum()), (other,))


def test_activations_are_the_plain_models(model):
    edits = LayerEdits(some_edits(model))
    table = activations.measure(model, FRAME, edits, states(model, edits), SMALL)
    for state, part in table.groupby("state"):
        streams = []
        for row, ids in enumerate(prompt_ids(model.tokenizer, FRAME)):
            with dense(model, row, state), torch.no_grad():
                hidden = model.network(torch.tensor([ids]), output_hidden_states=True).hidden_states
            streams.append(torch.stack([layer[0, -1] for layer in hidden[:-1]]))  # the last is behind the final norm
        found = torch.stack(streams)
        inner = part[part["layer"] < model.n_layers - 1].sort_values(["layer", "dimension"])
        for name, expected in (("mean", found.mean(0)), ("mean_abs", found.abs().mean(0)), ("sem", found.std(0) / 2)):
            np.testing.assert_allclose(inner[name], expected.flatten(), rtol=1e-7, atol=1e-9)
    assert table["facts"].unique().tolist() == [len(FRAME)]


def test_attention_weights_are_the_eager_ones(model):
    edits = LayerEdits(some_edits(model))
    table = attention.measure(model, FRAME, edits, states(model, edits), SMALL)
    before = model.network.config._attn_implementation
    for state, part in table.groupby("state"):
        for row, fact in enumerate(FACTS):
            ids, subject = encode_with_subject(model.tokenizer, fact["prompt"], fact["subject"])
            model.network.set_attn_implementation("eager")
            try:
                with dense(model, row, state), torch.no_grad():
                    weights = model.network(torch.tensor([ids]), output_attentions=True).attentions
            finally:
                model.network.set_attn_implementation("sdpa")
            expected = torch.stack(weights)[:, 0, :, -1, subject]
            found = part[part["case_id"] == row].sort_values(["layer", "head"])["weight"]
            np.testing.assert_allclose(found, expected.flatten(), rtol=1e-5, atol=1e-7)
    assert model.network.config._attn_implementation == before


def test_patching_nothing_is_the_edited_model_and_patching_all_nearly_the_original(model):
    edits = LayerEdits(some_edits(model))
    table = patching.measure(model, FRAME, edits, states(model, edits), SMALL)
    assert sorted(table["first_layer"].unique()) == list(range(LAYER + 1, model.n_layers + 1))
    edited = score(model, probe(model, LAYER, FRAME), edits.update)
    for component in patching.COMPONENTS:
        nowhere = table[(table["component"] == component) & (table["first_layer"] == model.n_layers)].sort_values("case_id")
        np.testing.assert_allclose(nowhere["logp_true_first"], edited.first_true, rtol=1e-9)
        np.testing.assert_allclose(nowhere["logp_new_first"], edited.first_new, rtol=1e-9)


@pytest.mark.parametrize("component", ["attention", "mlp", "both"])
def test_patched_outputs_are_the_originals_added_by_hand(model, component):
    """The stream at the last position is that before the first patched layer, plus outputs, the original's or its own."""
    edits, first = LayerEdits(some_edits(model)), LAYER + 1
    found = patching.measure(model, FRAME.iloc[[0]], edits[[0]], states(model, edits[[0]]), SMALL)
    row = found[(found["component"] == component) & (found["first_layer"] == first)].iloc[0]
    ids = torch.tensor([prompt_ids(model.tokenizer, FRAME.iloc[[0]])[0]])

    def outputs_of(state: str, replace: dict | None = None):
        kept, hooks = {}, []
        for layer in range(model.n_layers):
            for part in ("attention", "mlp"):

                def hook(module, args, out, key=(part, layer)):
                    value = out[0] if isinstance(out, tuple) else out
                    if replace and key[1] >= first and key[0] in patching.COMPONENTS[component]:
                        value = torch.cat([value[:, :-1], replace[key][:, -1:]], dim=1)
                    kept[key] = value
                    return (value, *out[1:]) if isinstance(out, tuple) else value

                module = model.block(layer).get_submodule(getattr(model.family, part))
                hooks.append(module.register_forward_hook(hook))
        try:
            with dense(model, 0, state), torch.no_grad():
                logits = model.network(ids).logits[0, -1]
        finally:
            for hook in hooks:
                hook.remove()
        return kept, logits

    original, plain = outputs_of("original")
    _, logits = outputs_of("edited", original)
    token = object_ids(model.tokenizer, FACTS[0]["target_true"])[0]
    assert row["logp_true_first"] == pytest.approx(float(logits.log_softmax(-1)[token]), rel=1e-9)
    assert bool(row["top1"]) == bool(logits.argmax() == plain.argmax())


def test_a_mask_over_every_edited_layer_is_the_releases_and_not_ours(model):
    edits, keep = together(model), some_mask(model)
    masked = states(model, edits)[2]
    weights = {layer: model.weight(layer).clone() for layer in (LAYER - 1, LAYER)}
    with in_state(model, edits, masked):
        ours = model.weight(LAYER - 1).clone()
    with in_state(model, edits, masked, mask_everywhere=True):
        theirs = model.weight(LAYER - 1).clone()
    torch.testing.assert_close(ours, weights[LAYER - 1] + edits.others[0].sum())
    torch.testing.assert_close(theirs, (weights[LAYER - 1] + edits.others[0].sum()) * keep)
    assert all(torch.equal(model.weight(layer), weight) for layer, weight in weights.items())


def test_as_released_reads_objects_without_their_space(model):
    edits = together(model)
    ours, theirs = (
        decomposition.measure(model, FRAME, edits, states(model, edits)[:1], SMALL, as_released=released)
        for released in (False, True)
    )
    ids = torch.tensor([prompt_ids(model.tokenizer, FRAME.iloc[[0]])[0]])
    with torch.no_grad():
        logits = model.network(ids).logits[0, -1]
    for table, space in ((ours, True), (theirs, False)):
        token = object_ids(model.tokenizer, FACTS[0]["target_true"], space)[0]
        part = table[(table["case_id"] == 0) & (table["token"] == "true")]
        assert part["exact"].sum() == pytest.approx(float(logits[token]), rel=1e-6)


def test_table_3_as_released_reads_the_same_tokens(model):
    edits = together(model)
    ours, theirs = (
        reversal(model, FRAME, edits, states(model, edits)[:2], SMALL, as_released=released) for released in (False, True)
    )
    pd.testing.assert_frame_equal(*(table.drop(columns=["logp_true_first", "logp_new_first"]) for table in (ours, theirs)))
    ids = torch.tensor([prompt_ids(model.tokenizer, FRAME.iloc[[0]])[0]])
    with torch.no_grad():
        log_probs = model.network(ids).logits[0, -1].log_softmax(-1)
    for table, space in ((ours, True), (theirs, False)):
        row = table[(table["case_id"] == 0) & (table["state"] == "original")].iloc[0]
        for side in ("true", "new"):
            token = object_ids(model.tokenizer, FACTS[0][f"target_{side}"], space)[0]
            assert row[f"logp_{side}_first"] == pytest.approx(float(log_probs[token]), rel=1e-6)


def test_magnitudes_by_hand():
    update, keep = torch.tensor([[3.0, -4.0], [0.0, 1.0]]), torch.tensor([[True, False], [True, False]])
    found = magnitude(update, keep)
    assert found == pytest.approx(
        {"mean_all": 2.0, "mean_pruned": 2.5, "norm_all": math.sqrt(26), "norm_pruned": math.sqrt(17), "high_magnitude": 0.5}
    )
    nothing = magnitude(update, torch.ones_like(keep))
    assert math.isnan(nothing["mean_pruned"]) and math.isnan(nothing["high_magnitude"]) and nothing["norm_pruned"] == 0.0


def test_a_random_mask_meets_as_many_large_updates_as_it_prunes():
    generator = torch.Generator().manual_seed(0)
    keep = torch.rand(200, 300, generator=generator) > 0.1
    assert magnitude(torch.randn(200, 300, generator=generator), keep)["high_magnitude"] == pytest.approx(0.1, abs=0.01)


def test_facts_edited_together_have_one_magnitude(model):
    single = by_edit(FRAME, LayerEdits(some_edits(model)), some_mask(model))
    assert single["case_id"].tolist() == FRAME["case_id"].tolist()
    assert by_edit(FRAME, together(model), some_mask(model))["case_id"].tolist() == [-1]


def test_the_worst_edits_are_measured_under_the_mask(model, tmp_path):
    edits = LayerEdits(some_edits(model).scaled(torch.tensor([0.1, 3.0, 0.1, 2.0], dtype=torch.float64)))
    windows = torch.arange(1, 41).view(2, 20)
    cases, seen = np.array([7, 8, 9, 10]), []
    journal = Journal(tmp_path / "journal", "x")
    everything = collapse(model, windows, cases, edits, states(model, edits), 4, 2, Work(journal=journal, callback=seen.append))
    edited = everything[everything["state"] == "edited"].set_index("case_id")["nll"]
    assert sorted(edited.index) == [7, 8, 9, 10] and seen == [1, 2, 3, 4]
    table = collapse(model, windows, cases, edits, states(model, edits), 2, 2)
    for state in ("edited", "shared"):
        assert set(table.loc[table["state"] == state, "case_id"]) == set(edited.nlargest(2).index)
    again = collapse(model, windows, cases, edits, states(model, edits), 2, 2, Work(journal=Journal(tmp_path / "journal", "x")))
    pd.testing.assert_frame_equal(table, again)
    for searched in (1, 2):  # whatever the first window says, four candidates are measured on both
        found = collapse(model, windows, cases, edits, states(model, edits), 1, searched)
        assert found["case_id"].tolist() == [-1, edited.idxmax(), edited.idxmax()]
        pd.testing.assert_frame_equal(found, table.iloc[:3])
    rows = pd.DataFrame(mechanism.collapse_measures(table, "test", 0, model="m", method="rome"))
    for metric, state in (("perplexity_edited", "edited"), ("perplexity_pruned", "shared")):
        of_cases = rows[rows["metric"] == metric]
        assert of_cases["item"].tolist() == [str(case) for case in edits_in_order(edited)]
        assert set(of_cases["state"]) == {state} and set(of_cases["relation"]) == {"all"}


def test_candidates_are_those_that_are_worst_at_the_beginning(model, monkeypatch):
    """With one candidate for each, the worst on the first window is taken for the worst."""
    edits, windows = LayerEdits(some_edits(model)), torch.arange(1, 41).view(2, 20)
    cases, measured = np.array([7, 8, 9, 10]), []
    monkeypatch.setattr(perplexity, "CANDIDATES", 1)
    given = mean_nll
    monkeypatch.setattr(perplexity, "mean_nll", lambda *a: measured.append(len(a[2])) or given(*a))
    found = collapse(model, windows, cases, edits, states(model, edits), 1, 1)
    first = collapse(model, windows[:1], cases, edits, states(model, edits), 1, 1)
    assert found["case_id"].tolist() == first["case_id"].tolist() and (found["tokens"] == 2 * first["tokens"]).all()
    assert measured == [1, 1, 1, 1, 2, 2, 2] + [1, 1, 1, 1, 1, 1]  # nothing twice where all was searched


def edits_in_order(nll: pd.Series) -> list[int]:
    return nll.sort_values(ascending=False).index[:2].tolist()


def test_the_heads_that_gain_most_are_named():
    rows = [
        (case, state, layer, head, weight + gain * (state == "edited"))
        for case, weight in ((1, 0.1), (2, 0.2), (3, 0.3))
        for layer, head, gain in ((0, 0, 0.0), (0, 1, 0.3), (1, 0, -0.1), (1, 1, 0.5))
        for state in ("original", "edited", "shared")
    ]
    table = pd.DataFrame(rows, columns=["case_id", "state", "layer", "head", "weight"]).assign(relation_id="P1")
    found = pd.DataFrame(mechanism.head_measures(table, "test", 0, model="m", method="rome"))
    edited = found[found["state"] == "edited"].set_index(["layer", "item"])["value"]
    assert edited.index.tolist() == [(1, "1"), (0, "1"), (0, "0"), (1, "0")] and set(found["relation"]) == {"all"}
    assert edited.tolist() == pytest.approx([0.5, 0.3, 0.0, -0.1])
    assert found.loc[found["state"] == "shared", "value"].tolist() == pytest.approx([0.0] * 4)


def test_the_least_share_that_reverses_most():
    rows = [
        ("update", "zeroed", 0.1, 0.5),
        ("update", "zeroed", 0.3, 0.9),
        ("update", "zeroed", 0.5, 0.95),
        ("update", "restored", 0.5, 0.92),
        ("columns", "zeroed", 0.9, 0.4),
    ]
    table = pd.DataFrame(rows, columns=["parametrisation", "state", "share", "value"]).assign(metric="rsr", relation="all", n=12)
    found = mechanism.reached(table, 0.9, "test", 0, model="m", method="rome")
    assert [(row["parametrisation"], row["state"], row["value"]) for row in found] == [
        ("update", "zeroed", 0.3),
        ("update", "restored", 0.5),
    ]
    assert {row["share"] for row in found} == {None}  # the share is what was measured
    assert mechanism.reached(table, 0.99, "test", 0, model="m", method="rome") == []
