"""Batches survive a kill and a full device, and their results do not depend on either."""

import pytest
import torch

from conftest import FACTS, TEMPLATES
from onemask.editors import delta, memit, rome
from onemask.editors.base import Task
from onemask.editors.delta import fact_texts, text_groups
from onemask.io.batching import Journal, Work, run_batches
from onemask.io.errors import OnemaskError
from test_editors import MEMIT, ROME, some_moment

GROUPS = [[3, 0], [1, 2, 4]]


def squares(group: list[int]) -> dict[str, torch.Tensor]:
    return {"square": torch.tensor(group) ** 2, "row": torch.tensor(group)[:, None].float()}


def test_results_come_in_the_order_of_the_indices():
    seen = []
    found = run_batches(GROUPS, squares, Work(callback=seen.append))
    assert found["square"].tolist() == [0, 1, 4, 9, 16] and found["row"][:, 0].tolist() == [0, 1, 2, 3, 4]
    assert seen == [2, 5]


def test_a_killed_job_loses_one_batch_at_most(tmp_path):
    journal, calls = Journal(tmp_path / "batches", "this run"), []

    def killed(group):
        calls.append(group)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return squares(group)

    with pytest.raises(KeyboardInterrupt):
        run_batches(GROUPS, killed, Work(journal=journal))
    found = run_batches(GROUPS, killed, Work(journal=journal))
    assert calls == [GROUPS[0], GROUPS[1], GROUPS[1]]
    assert found["square"].tolist() == [0, 1, 4, 9, 16]
    journal.clear()
    assert not (tmp_path / "batches").exists()


@pytest.mark.parametrize("damage", ["another run", "truncated"])
def test_what_is_not_whole_or_not_of_this_run_is_made_again(tmp_path, damage):
    run_batches(GROUPS, squares, Work(journal=Journal(tmp_path, "this run")))
    calls = []
    if damage == "truncated":
        for file in tmp_path.iterdir():
            file.write_bytes(file.read_bytes()[:-8])
    journal = Journal(tmp_path, "this run" if damage == "truncated" else "another run")
    run_batches(GROUPS, lambda group: calls.append(group) or squares(group), Work(journal=journal))
    assert calls == GROUPS


def test_a_full_device_is_answered_by_halving(caplog):
    def small(group):
        if len(group) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return squares(group)

    found = run_batches([[0, 1, 2, 3, 4]], small)
    assert found["square"].tolist() == [0, 1, 4, 9, 16]
    assert "out of memory with 5 facts at once: going on with 2" in caplog.text


def test_a_single_fact_too_large_is_an_error():
    def none(group):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    with pytest.raises(OnemaskError, match="a fact's texts to fit.*Tried to allocate"):
        run_batches([[0, 1]], none)


@pytest.mark.parametrize("editor, settings", [(rome, ROME), (memit, MEMIT)])
def test_an_interrupted_editor_ends_as_an_unbroken_one(model, tmp_path, monkeypatch, editor, settings):
    """Killed in the second batch, and with memory for one fact at a time: the factors are the same bytes, and nearly the same."""
    moments = {layer: some_moment(model, layer) for layer in (0, 1, 2)}
    groups = [[0, 1], [2, 3]]
    monkeypatch.setattr(editor, "text_groups", lambda texts, budget: groups)
    whole = editor.edit(Task(model, FACTS, TEMPLATES, moments), settings)
    prepare, calls = delta.prepare, []

    def killed(model, layer, texts, prefixes):
        calls.append(len(texts))
        if len(calls) == 2:
            raise KeyboardInterrupt
        if len(calls) == 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return prepare(model, layer, texts, prefixes)

    work = Work(journal=Journal(tmp_path, "x"))
    monkeypatch.setattr(editor, "prepare", killed)
    with pytest.raises(KeyboardInterrupt):
        editor.edit(Task(model, FACTS, TEMPLATES, moments, work), settings)
    resumed = editor.edit(Task(model, FACTS, TEMPLATES, moments, work), settings)
    assert calls == [2, 2, 2, 1, 1]
    for part, other in zip(resumed.layers, whole.layers, strict=True):
        torch.testing.assert_close(part.sum(), other.sum(), rtol=1e-9, atol=1e-12)
    if editor is rome:
        assert torch.equal(resumed.layers[0].r[:2], whole.layers[0].r[:2])


def test_batches_hold_equal_suffixes_within_the_budget(model):
    texts = [fact_texts(model, fact, TEMPLATES) for fact in FACTS]
    for budget in (1, 60, 10_000):
        groups = text_groups(texts, budget)
        assert sorted(i for group in groups for i in group) == list(range(len(FACTS)))
        for group in groups:
            rows = [len(ids) for i in group for ids in texts[i].ids]
            assert len(group) == 1 or len(rows) * max(rows) <= budget
            assert len({texts[i].suffix for i in group}) == 1
