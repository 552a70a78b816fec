"""The states that a mask is measured in, against full matrices put into the plain model; and masks that are no masks."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from conftest import FACTS
from onemask.io.batching import Journal, Work
from onemask.io.errors import OnemaskError
from onemask.io.placeholder import fill
from onemask.masking.masks import Mask, pruned_share, random_mask, random_mask_by_output, read_mask, write_mask
from onemask.measuring.perplexity import measure
from onemask.measuring.reversal import neighbours, reversal
from onemask.measuring.states import State, states_of
from onemask.model.edits import FactoredEdits, JointEdit, LayerEdits
from test_algebra import LAYER, DenseWeight, plain_logits, some_edits, some_mask, texts

FRAME = pd.DataFrame(FACTS).assign(paraphrases=[[]] * len(FACTS), neighborhood=[["A is", "B is"], ["C is"], [], ["D is", "E is"]])


def mask_of(model) -> Mask:
    keep = some_mask(model)
    return Mask(LAYER, keep, keep.float(), {})


def states(model, edits: LayerEdits) -> dict[str, State]:
    return {state.name: state for state in states_of(edits, mask_of(model), seed=3)}


def matrices(model, weight: torch.Tensor, update: torch.Tensor) -> dict[str, torch.Tensor]:
    """The layer's matrix in each state of one update, written out."""
    keep, found = mask_of(model).keep, weight + update
    return {
        "original": weight,
        "edited": found,
        "shared": found * keep,
        "random": found * random_mask(keep, 3),
        "random_by_output": found * random_mask_by_output(keep, 3),
        "restored": weight + update * keep,
        "clipped": weight + update * (update * keep).norm() / update.norm(),
        "layer_zeroed": 0 * weight,
        "unedited_masked": weight * keep,
    }


def test_every_state_is_its_matrix(model):
    edits = LayerEdits(some_edits(model))
    found = reversal(model, FRAME, edits, list(states(model, edits).values()), Work(60))
    assert len(found) == 9 * len(FACTS)
    weight = model.weight(LAYER).clone()
    for i, ids in enumerate(texts(model)):
        original = plain_logits(model, ids)[-1].log_softmax(-1)
        for name, matrix in matrices(model, weight, edits.update.dense(i)).items():
            with DenseWeight(model, LAYER, matrix):
                expected = plain_logits(model, ids)[-1].log_softmax(-1)
            row = found[(found["state"] == name) & (found["case_id"] == FACTS[i]["case_id"])].iloc[0]
            assert row["argmax"] == int(expected.argmax()) and row["top1"] == (expected.argmax() == original.argmax())
            assert row["kl"] == pytest.approx(float((original.exp() * (original - expected)).sum()), rel=1e-7, abs=1e-9)


def together(model) -> LayerEdits:
    """One update of two layers, as MEMIT makes it."""
    edits = some_edits(model)
    return LayerEdits(JointEdit(LAYER, edits.sum()), (FactoredEdits(0, edits.u, 0.5 * edits.r),))


def test_edits_made_together_stand_in_every_layer_but_the_mask_in_one(model):
    edits = together(model)
    found = reversal(model, FRAME, edits, list(states(model, edits).values()), Work(60))
    weight, first = model.weight(LAYER).clone(), model.weight(0).clone()
    unedited = ("original", "unedited_masked")
    for name, matrix in matrices(model, weight, edits.update.matrix).items():
        for i, ids in enumerate(texts(model)):
            original = plain_logits(model, ids)[-1].log_softmax(-1)
            below = first if name in unedited else first + edits.others[0].sum()
            with DenseWeight(model, LAYER, matrix), DenseWeight(model, 0, below):
                expected = plain_logits(model, ids)[-1].log_softmax(-1)
            row = found[(found["state"] == name) & (found["case_id"] == FACTS[i]["case_id"])].iloc[0]
            assert row["kl"] == pytest.approx(float((original.exp() * (original - expected)).sum()), rel=1e-7, abs=1e-9)
    assert torch.equal(model.weight(0), first)


def test_only_the_main_mask_has_all_controls(model):
    edits = LayerEdits(some_edits(model))
    alone = states_of(edits, mask_of(model), 0, "left_out", random=False, controls=False)
    assert [state.name for state in alone] == ["original", "edited", "left_out"]
    names = [state.name for state in states_of(edits, mask_of(model), 0, controls=False)]
    assert names == ["original", "edited", "shared", "random", "layer_zeroed"]


def test_perplexity_is_measured_once_where_no_edit_makes_a_difference(model):
    windows = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12]])
    edits, cases = LayerEdits(some_edits(model)), np.arange(4)
    found = measure(model, windows, cases, edits, list(states(model, edits).values()))
    count = found.groupby("state").size().to_dict()
    once = {"original": 1, "layer_zeroed": 1, "unedited_masked": 1}
    assert count == {name: once.get(name, len(FACTS)) for name in count} and len(count) == 9
    weight = model.weight(LAYER).clone()
    for name, matrix in matrices(model, weight, edits.update.dense(2)).items():
        with DenseWeight(model, LAYER, matrix):
            losses = [
                torch.nn.functional.cross_entropy(plain_logits(model, ids.tolist())[:-1], ids[1:]).item() for ids in windows
            ]
        row = found[(found["state"] == name) & found["case_id"].isin([-1, 2])]
        assert row["nll"].iloc[0] == pytest.approx(np.mean(losses), rel=1e-7)
    everything = measure(model, windows, cases, together(model), [State("edited", together(model).update)])
    assert everything["case_id"].tolist() == [-1]


def test_perplexity_takes_up_the_edits_that_are_done(model, tmp_path):
    windows, edits = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12]]), LayerEdits(some_edits(model))
    cases, shown = np.arange(4), list(states(model, edits).values())
    journal, seen = Journal(tmp_path / "batches", "this run"), []

    def killed(done):
        seen.append(done)
        if seen == [1, 2]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(model, windows, cases, edits, shown, Work(journal=journal, callback=killed))
    assert len(list((tmp_path / "batches").iterdir())) == 2
    resumed = measure(model, windows, cases, edits, shown, Work(journal=journal))
    pd.testing.assert_frame_equal(resumed, measure(model, windows, cases, edits, shown))


def test_random_masks_remove_as_much():
    keep = torch.rand(16, 40, generator=torch.Generator().manual_seed(0)) > 0.3
    keep[3] = False
    drawn = random_mask_by_output(keep, 1)
    assert torch.equal(drawn.sum(1), keep.sum(1)) and not torch.equal(drawn, keep)
    assert torch.equal(drawn, random_mask_by_output(keep, 1)) and not torch.equal(drawn, random_mask_by_output(keep, 2))
    assert pruned_share(random_mask(keep, 1)) == pruned_share(keep)
    assert not torch.equal(random_mask(keep, 1).sum(1), keep.sum(1))


def test_neighbours_are_facts_of_their_own_prompts():
    near, owners = neighbours(FRAME, prompts=1)
    texts = [fill(fact.prompt, fact.subject) for fact in near.itertuples()]
    assert texts == ["A is", "C is", "D is"] and owners == [0, 1, 3]
    assert near["target_new"].tolist() == [FACTS[i]["target_new"] for i in owners]
    with pytest.raises(OnemaskError, match="neighbourhood prompts"):
        neighbours(FRAME.iloc[[2]], prompts=5)


@pytest.mark.parametrize("model", ["gpt2"], indirect=True)
def test_a_mask_of_another_layer_or_model_is_refused(model, tmp_path):
    mask, path = mask_of(model), tmp_path / "mask.safetensors"
    write_mask(path, mask, {"model": {"sha256": "a"}})
    edits = LayerEdits(some_edits(model))
    assert torch.equal(read_mask(path, model, edits).keep, mask.keep)
    model.info["sha256"] = "b"
    try:
        with pytest.raises(OnemaskError, match="the model that .* was trained on; found other weights"):
            read_mask(path, model, edits)
    finally:
        del model.info["sha256"]
    with pytest.raises(OnemaskError, match="edits of layer 1, which .* masks; found layer 2"):
        read_mask(path, model, LayerEdits(replace(edits.update, layer=2)))


def test_facts_may_share_an_edit(model):
    edits = LayerEdits(some_edits(model))
    shown = [state for state in states(model, edits).values() if state.name in ("edited", "shared")]
    twice = reversal(model, FRAME.iloc[[1, 1, 3]].reset_index(drop=True), edits, shown, Work(60), owners=[1, 0, 3])
    alone = reversal(model, FRAME, edits, shown, Work(60))
    for state in ("edited", "shared"):
        one, two = (table[table["state"] == state]["logp_new"].to_numpy() for table in (alone, twice))
        assert two[0] == pytest.approx(one[1]) and two[2] == pytest.approx(one[3]) and two[1] != pytest.approx(one[1])
