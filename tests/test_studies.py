"""What stands behind the studies: named masks, the facts they learn from, pruning without training, key energy, what folds and
layers say together."""

import itertools
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from conftest import FACTS
from onemask.io.batching import Work
from onemask.io.errors import OnemaskError
from onemask.masking import names
from onemask.masking.selection import choose, measured, training_edits, unseen
from onemask.measuring import pruning
from onemask.measuring.key_energy import by_layer, key_energy, key_sums, subject_keys
from onemask.model.edits import FactoredEdits, LayerEdits
from onemask.model.tokens import encode_with_subject
from onemask.summaries.studies import layer_correlation, left_out
from test_algebra import LAYER, some_edits
from test_masking import SETTINGS

RELATIONS = ["P1", "P2", "P3", "P4", "P5"]


STUDIES = SimpleNamespace(
    parametrisations=["topk"], shares=[0.02, 0.025], blocking_shares=[0.1], folds=2, shuffled=True, training_edits=[30]
)
PLANS = names.plans(STUDIES, "sigmoid", RELATIONS)


def budget(parametrisation: str, share: float) -> dict:
    settings = {"parametrisation": parametrisation, "s_max": share, "cut": "share"}
    return {"parametrisation": parametrisation, "share": share, "settings": settings, "random": True}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("shared", {"random": True, "controls": True}),
        ("topk-2", budget("topk", 0.02)),
        ("topk-2.5", budget("topk", 0.025)),
        ("sigmoid-10", budget("sigmoid", 0.1)),
        ("fold0", {"state": "left_out", "left_out": ("P1", "P3", "P5")}),
        ("fold1", {"state": "left_out", "left_out": ("P2", "P4")}),
        ("shuffled", {"state": "shuffled", "shuffled": True}),
        ("edits30", {"training_edits": 30, "settings": {"cut": "share"}}),
    ],
)
def test_a_plan_says_what_sets_its_mask_apart(name, expected):
    assert PLANS[name] == names.MaskPlan(**expected)


def test_every_mask_that_a_study_asks_for_is_planned_once():
    assert list(PLANS) == ["shared", "topk-2", "topk-2.5", "sigmoid-10", "fold0", "fold1", "shuffled", "edits30"]


def test_every_relation_is_left_out_once():
    for count in (2, 3, 5):
        parts = names.folds(RELATIONS, count)
        assert len(parts) == count and sorted(sum(parts, [])) == RELATIONS


def facts(count: int) -> pd.DataFrame:
    return pd.DataFrame({"case_id": range(count), "relation_id": [RELATIONS[i % 5] for i in range(count)]})


def test_small_draws_lie_within_large_ones_and_left_out_relations_are_out():
    small, large = (set(choose(facts(50), [], count, seed=1)) for count in (10, 30))
    assert len(small) == 10 and len(large) == 30 and small < large
    assert small != set(choose(facts(50), [], 10, seed=2))
    rest = facts(50).iloc[choose(facts(50), ["P2", "P4"], None, seed=1)]
    assert set(rest["relation_id"]) == {"P1", "P3", "P5"} and len(rest) == 30
    with pytest.raises(OnemaskError, match="40 training edits or more without P2; found 5"):
        choose(facts(6), ["P2"], 40, seed=0)
    with pytest.raises(OnemaskError, match="training edits or more without"):
        choose(facts(6), RELATIONS, None, seed=0)


def test_a_plan_says_what_a_mask_is_trained_on():
    edits, settings = LayerEdits(FactoredEdits(0, torch.arange(50.0).view(50, 1, 1), torch.ones(50, 1, 1))), SETTINGS
    plans = {name: asdict(PLANS[name]) for name in ("shared", "fold1", "edits30", "shuffled")}
    made = {name: training_edits(facts(50), edits, settings, plan, draw_seed=1, seed=0) for name, plan in plans.items()}
    for training in made.values():
        assert training.edits.single.u.flatten().tolist() == training.facts["case_id"].tolist()
    assert len(made["shared"].facts) == 50 and made["shared"].settings == settings and made["shared"].swapped is None
    assert set(made["fold1"].facts["relation_id"]) == {"P1", "P3", "P5"} and made["fold1"].settings.epochs == 3
    assert len(made["edits30"].facts) == 30 and made["edits30"].settings.epochs == 5  # of 3: 50 / 30 times as many
    assert made["shuffled"].swapped.tolist() == (np.random.default_rng(0).random(50) < 0.5).tolist()


def test_a_mask_is_measured_on_what_its_plan_says():
    plans = {name: asdict(PLANS[name]) for name in ("shared", "fold1", "edits30")}
    assert measured(facts(50), plans["shared"], "test", 1).tolist() == list(range(50))
    assert set(facts(50)["relation_id"].iloc[measured(facts(50), plans["fold1"], "test", 1)]) == {"P2", "P4"}
    assert measured(facts(50), plans["edits30"], "train", 1).tolist() == choose(facts(50), [], 30, 1).tolist()
    assert len(measured(facts(50), plans["edits30"], "test", 1)) == 50
    with pytest.raises(OnemaskError, match="facts of P2, P4 in test; found none"):
        measured(facts(1), plans["fold1"], "test", 1)


def test_facts_that_a_mask_was_trained_on_are_no_test_of_it():
    pairs = [("P1", "a"), ("P1", "b"), ("P2", "a")]
    test, training = (pd.DataFrame(rows, columns=["relation_id", "subject"]) for rows in (pairs, [("P1", "a"), ("P3", "b")]))
    assert unseen(test, training).tolist() == [1, 2]
    with pytest.raises(OnemaskError, match="no mask was trained on"):
        unseen(test, test)


def test_pruning_removes_the_largest_by_each_criterion(model):
    edits = some_edits(model)[[0]]
    edit = FactoredEdits(LAYER, edits.u.float(), edits.r.float())
    activation = torch.arange(float(model.d_mlp))
    of_states = zip(pruning.columns_of([0.25]), pruning.states_of(model, edit, activation, [0.25]), strict=True)
    states = {(columns["parametrisation"], columns["state"]): state for columns, state in of_states}
    assert set(states) == set(itertools.product(("update", "magnitude", "columns", "activation"), ("zeroed", "restored")))
    assert all(state.name == name for (_, name), state in states.items())
    edited = model.weight(LAYER).float() + edit.dense(0)
    for name, values in (("update", edit.dense(0).abs()), ("magnitude", edited.abs())):
        keep = states[name, "zeroed"].keep
        assert float(values[~keep].min()) >= float(values[keep].max())
        assert int((~keep).sum()) == round(0.25 * keep.numel())
    for name, values in (("columns", edited.norm(dim=0)), ("activation", activation)):
        keep = states[name, "restored"].keep
        whole = ~keep.any(0)
        assert torch.equal(keep.all(0), ~whole) and int(whole.sum()) == round(0.25 * model.d_mlp)
        assert float(values[whole].min()) >= float(values[~whole].max())
    assert states["update", "restored"].restores and not states["update", "zeroed"].restores


def energy_of(keys: torch.Tensor) -> tuple[float, float]:
    return key_energy(key_sums(keys.double()), len(keys))


def test_key_energy_of_known_keys():
    neurons = 20
    same = torch.zeros(5, neurons)
    same[:, 3] = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    assert energy_of(same) == pytest.approx((1.0, 1.0))
    assert energy_of(torch.eye(neurons)) == pytest.approx((0.1, 0.0))
    half = torch.eye(4).repeat(1, 5)
    assert energy_of(half)[1] == pytest.approx(0.0)
    with pytest.raises(OnemaskError, match="at least two facts"):
        energy_of(same[:1])


def test_energy_by_layer_is_that_of_the_inputs_of_w_at_the_subjects_last_tokens(model):
    frame = pd.DataFrame(FACTS)
    texts = [encode_with_subject(model.tokenizer, fact["prompt"], fact["subject"]) for fact in FACTS]
    seen = {}
    for layer, keys in enumerate(subject_keys(model, texts)):
        for i, (ids, at) in enumerate(texts):
            hook = model.matrix(layer).register_forward_pre_hook(lambda _, args: seen.update(keys=args[0]))
            with torch.no_grad():
                model.network(torch.tensor([ids]))
            hook.remove()
            torch.testing.assert_close(keys[i], seen["keys"][0, at].double())
        if layer == 2:
            normalised = keys / keys.norm(dim=1, keepdim=True)
    table = by_layer(model, frame, Work(20))  # several batches
    assert table["layer"].tolist() == list(range(model.n_layers)) and (table["subjects"] == 4).all()
    largest = normalised.pow(2).mean(0).numpy()
    assert table["common_energy"][2] == pytest.approx(np.sort(largest)[-round(0.1 * model.d_mlp) :].sum())
    cosines = (normalised @ normalised.T).numpy()[np.triu_indices(4, 1)]
    assert table["cosine"][2] == pytest.approx(cosines.mean())


def reversal_of(cases, reversed_cases, state) -> pd.DataFrame:
    table = pd.DataFrame({"case_id": cases, "state": state, "relation_id": "P1", "logp_new": -2.0})
    return table.assign(logp_true=np.where(table["case_id"].isin(reversed_cases), -1.0, -3.0))


def test_the_folds_facts_make_one_state():
    tables = [pd.concat([reversal_of([i], [], state) for state in ("original", "edited", "left_out")]) for i in range(3)]
    joined = left_out(tables)
    assert set(joined["state"]) == {"left_out"} and joined["case_id"].tolist() == [0, 1, 2]


MASK = {"parametrisation": "sigmoid", "share": 0.1}


def test_layers_are_correlated_over_the_facts_that_all_edited():
    energy = pd.Series({2: 0.2, 5: 0.4, 7: 0.6, 9: 0.9})
    rates = {2: 1, 5: 4, 7: 6, 9: 9}
    tables = {layer: reversal_of(range(10), range(count), "shared") for layer, count in rates.items()}
    tables[2] = pd.concat([tables[2], reversal_of([99], [99], "shared")])
    found, p_value = layer_correlation(energy, tables, MASK, 0, model="m", method="rome")
    assert found["value"] == pytest.approx(1.0) and found["n"] == 4
    assert (found["state"], found["parametrisation"], found["share"]) == ("shared", "sigmoid", 0.1)
    assert found["ci_high"] == 1.0 and 0 < found["ci_low"] < 1  # in some resamples two layers are equally good
    assert p_value["value"] == pytest.approx(2 / 24)  # of the 24 orders of four layers, two are perfectly ranked
    back, _ = layer_correlation(-energy, tables, MASK, 0, model="m", method="rome")
    assert back["value"] == pytest.approx(-1.0)
    clear = {layer: reversal_of(range(10), range(10 if layer > 5 else 0), "shared") for layer in (2, 7)}
    sure, _ = layer_correlation(energy, clear, MASK, 0, model="m", method="rome")
    assert (sure["ci_low"], sure["ci_high"]) == pytest.approx((1.0, 1.0))
