"""Mask training: the factored loss is the dense one, memory limits change nothing, schedules are appendix A's, and a broken
training resumes exactly.
"""

import math
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import dense_mask_training as dense
import tiny_model
from conftest import FACTS, random_network
from onemask.io.batching import nothing
from onemask.io.errors import OnemaskError
from onemask.io.tensor_files import NO_CHECKPOINT, Checkpoint
from onemask.masking import training as mask_training
from onemask.masking.settings import MaskSettings, schedule
from onemask.model.edits import FactoredEdits, JointEdit, LayerEdits
from onemask.model.forward import logits_at
from onemask.model.models import Model
from onemask.model.tokens import batches, encode
from test_algebra import LAYER, some_edits
from tiny_model import object_ids

SETTINGS = MaskSettings(
    parametrisation="sigmoid", cut="gamma", epochs=3, lr=0.05, batch_edits=2, gamma=0.5, s_max=0.1, delta_margin=3.0,
    beta_kl=3.26, theta_mean=0.85, theta_sd=0.1, tau_start=6.0, tau_decay=3.0, temperature_start=1.64, temperature_end=4.30,
    lambda_start=1e-6, lambda_end=60.0, gradient_clip=1.0, validation_share=0.25, concrete_temperature=2 / 3,
    concrete_stretch=0.1, precision="float32", batch_tokens=4000, cache_mb=8000,
)  # fmt: skip
FRAME = pd.DataFrame([{**fact, "paraphrases": [f"Say, {fact['subject']} is", "Of " + fact["subject"]]} for fact in FACTS])
TEMPERATURE = 2.0
only_gpt2 = pytest.mark.parametrize("model", ["gpt2"], indirect=True)
each_parametrisation = pytest.mark.parametrize("parametrisation", ["sigmoid", "hard-concrete", "topk"])


def single(model) -> LayerEdits:
    return LayerEdits(some_edits(model))


def rank_two(model) -> LayerEdits:
    one, shape = some_edits(model), torch.Generator().manual_seed(6)
    u, r = (torch.cat([part, torch.randn(part.shape, generator=shape).double()], dim=1) for part in (one.u, one.r))
    return LayerEdits(FactoredEdits(LAYER, u, r))


def together(model) -> LayerEdits:
    """Edits in two layers, made together as MEMIT's."""
    edits = some_edits(model)
    return LayerEdits(JointEdit(LAYER, edits.sum()), (FactoredEdits(LAYER - 1, edits.u.flip(0), edits.r.flip(0)),))


def in_float32(model) -> Model:
    network = random_network(model.network.config.model_type)
    return Model(network.to(torch.float32), model.tokenizer, model.network.config.model_type)


def soft_keep(model) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.rand(model.d_model, model.d_mlp, generator=generator).double().requires_grad_(True)


def dense_terms(model, edits: LayerEdits, keep, margin: float = SETTINGS.delta_margin) -> torch.Tensor:
    """Hinge and KL_T over all texts, (2,)."""
    others = {part.layer: model.weight(part.layer) + part.sum() for part in edits.others}
    found = [
        torch.stack(dense.terms(model, LAYER, record, keep, TEMPERATURE, margin, others=others))
        for record in dense.make_records(model, FRAME, edits.update)
    ]
    return torch.stack(found).mean(0)


def factored_terms(model, edits: LayerEdits, keep, settings: MaskSettings = SETTINGS) -> torch.Tensor:
    texts = mask_training.prepare(model, edits, FRAME, settings)
    rows = torch.arange(len(texts.edit))
    return torch.stack(mask_training.terms(model, texts, rows, edits.update, keep, TEMPERATURE, settings))


@pytest.mark.parametrize("edits", [single, rank_two, together])
def test_factored_loss_and_gradient_are_the_dense_ones(model, edits):
    dense_keep, keep = soft_keep(model), soft_keep(model)
    expected, found = dense_terms(model, edits(model), dense_keep), factored_terms(model, edits(model), keep)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    expected.sum().backward()
    found.sum().backward()
    torch.testing.assert_close(keep.grad, dense_keep.grad, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("other", [rank_two, together])
def test_ranks_and_other_layers_count(model, other):
    """The negative control: without the second rank, or without the other layer, the terms are others, by far more than 1e-12."""
    whole = other(model)
    if whole.others:
        part = LayerEdits(whole.update)
    else:
        part = LayerEdits(FactoredEdits(LAYER, whole.update.u[:, :1], whole.update.r[:, :1]))
    keep = soft_keep(model).detach()
    assert ((factored_terms(model, part, keep) / dense_terms(model, whole, keep) - 1).abs() > 1e-6).all()


def steps(model, settings: MaskSettings, count: int = 4) -> tuple[list[float], torch.Tensor]:
    """Losses and theta of some steps on all texts, theta in the model's float64."""
    edits = single(model)
    texts = mask_training.prepare(model, edits, FRAME, settings)
    theta = mask_training.new_state(model, settings, 0).theta.detach().double().requires_grad_(True)
    optimiser = torch.optim.AdamW([theta], lr=settings.lr, weight_decay=0.0)
    state = mask_training.State(theta, optimiser, torch.Generator(), [])
    now, rows, losses = schedule(settings, 0.5), torch.arange(len(texts.edit)), []
    for _ in range(count):
        noise = torch.Generator().manual_seed(0)
        losses.append(mask_training.step(model, texts, rows, edits.update, settings, now, state, noise)["loss"])
    return losses, theta.detach()


@each_parametrisation
def test_a_step_in_parts_is_the_step_at_once(model, parametrisation):
    settings = replace(SETTINGS, parametrisation=parametrisation)
    lengths = mask_training.prepare(model, single(model), FRAME, settings).cache.lengths.tolist()
    assert len(batches(lengths, 20)) > 3 and len(batches(lengths, SETTINGS.batch_tokens)) == 1
    losses, theta = steps(model, settings)
    parts_losses, parts_theta = steps(model, replace(settings, batch_tokens=20))
    assert parts_losses == pytest.approx(losses, rel=1e-12)
    torch.testing.assert_close(parts_theta, theta, rtol=1e-11, atol=0)


@only_gpt2
def test_training_in_parts_is_training_at_once(model):
    """As above through `train`, whose theta is float32: its gradients are rounded in every part."""
    theta, _, history = mask_training.train(model, FRAME, single(model), SETTINGS, 0)
    parts, _, parts_history = mask_training.train(model, FRAME, single(model), replace(SETTINGS, batch_tokens=20), 0)
    assert (parts - theta).norm() < 3e-7 * theta.norm()
    assert [row["loss"] for row in parts_history] == pytest.approx([row["loss"] for row in history], rel=1e-7)


@only_gpt2
@pytest.mark.parametrize("edits", [single, together])
def test_a_cache_on_disk_changes_no_bit_and_leaves_no_file(model, tmp_path, caplog, edits):
    caplog.set_level("INFO")
    theta, keep, history = mask_training.train(
        model, FRAME, edits(model), SETTINGS, 0, checkpoint=Checkpoint(tmp_path / "memory")
    )
    assert "on disk" not in caplog.text
    settings = replace(SETTINGS, cache_mb=0)
    mapped, mapped_keep, mapped_history = mask_training.train(
        model, FRAME, edits(model), settings, 0, checkpoint=Checkpoint(tmp_path / "disk")
    )
    assert "on disk" in caplog.text
    assert torch.equal(mapped, theta) and torch.equal(mapped_keep, keep) and mapped_history == history
    assert {path.name for path in tmp_path.iterdir()} == {"memory", "disk"}


@pytest.mark.parametrize("swapped", [[True] * 4, [False, True, False, True]])
def test_swapped_edits_restore_the_edited_model(model, swapped):
    edits = single(model)
    texts = mask_training.prepare(model, edits, FRAME, SETTINGS, np.array(swapped))
    found = logits_at(model, texts.target)
    for i, fact in FRAME.iterrows():
        rows = slice(3 * i, 3 * i + 3)
        names = ("target_new", "target_true") if swapped[i] else ("target_true", "target_new")
        for column, name in zip((texts.true, texts.new), names, strict=True):
            assert column[rows].tolist() == 3 * [object_ids(model.tokenizer, fact[name])[0]]
        lines = [fact["prompt"].replace("{}", fact["subject"]), *fact["paraphrases"]]
        ids = [encode(model.tokenizer, line) for line in lines]
        original = dense.last_logits(model, ids, {})
        edited = dense.last_logits(model, ids, {LAYER: model.weight(LAYER) + edits.update.dense(i)})
        assert not torch.allclose(original, edited, rtol=1e-2)
        torch.testing.assert_close(found[rows], edited if swapped[i] else original, rtol=1e-9, atol=1e-9)


@only_gpt2
def test_swapped_rows_are_those_of_the_training_edits(model):
    """`train` holds some edits out: to swap only those changes nothing, to swap the others does."""
    training, held = mask_training.hold_out(len(FRAME), SETTINGS.validation_share, 0)
    theta = mask_training.train(model, FRAME, single(model), SETTINGS, 0)[0]
    for chosen, same in ((held, True), (training, False)):
        swapped = np.isin(np.arange(len(FRAME)), chosen)
        assert torch.equal(mask_training.train(model, FRAME, single(model), SETTINGS, 0, swapped)[0], theta) == same


def test_schedules_end_where_appendix_a_says():
    start, end = schedule(SETTINGS, 0.0), schedule(SETTINGS, 1.0)
    assert (start.tau, end.tau) == (6.0, pytest.approx(6 * math.exp(-3)))
    assert (start.temperature, end.temperature) == (1.64, pytest.approx(4.30))
    assert (start.weight, end.weight) == (1e-6, pytest.approx(60.0))


class Killed(Exception):
    pass


@only_gpt2
def test_a_broken_training_resumes_only_its_own(model, tmp_path):
    arguments = (model, FRAME, single(model), SETTINGS, 0)
    theta, keep, history = mask_training.train(*arguments)
    checkpoint = Checkpoint(tmp_path / "checkpoint", "a")

    def kill(done):
        if done == 3:
            raise Killed

    with pytest.raises(Killed):
        mask_training.train(*arguments, checkpoint=checkpoint, callback=kill)
    again, other = [], []
    resumed = mask_training.train(*arguments, checkpoint=checkpoint, callback=again.append)
    assert again == [3]
    assert torch.equal(theta, resumed[0]) and torch.equal(keep, resumed[1]) and history == resumed[2]
    mask_training.train(*arguments, checkpoint=Checkpoint(checkpoint.path, "another training"), callback=other.append)
    assert other == [1, 2, 3]


def train_on_disk(parametrisation: str, checkpoint: Checkpoint = NO_CHECKPOINT, callback=nothing):
    """A training of 12 epochs that another process can repeat."""
    model = Model(random_network("gpt2").double(), tiny_model.make_tokenizer(tiny_model.sentences()), "gpt2")
    settings = replace(SETTINGS, parametrisation=parametrisation, epochs=12, cache_mb=0)
    return mask_training.train(model, FRAME, single(model), settings, 0, checkpoint=checkpoint, callback=callback)


SLOWLY = """
import pathlib, sys, time, test_masking
step = test_masking.mask_training.step
def slow_step(*arguments):
    time.sleep(0.1)
    return step(*arguments)
test_masking.mask_training.step = slow_step
test_masking.train_on_disk(sys.argv[1], test_masking.Checkpoint(pathlib.Path(sys.argv[2])))
"""


@pytest.mark.slow
@each_parametrisation
def test_a_process_killed_anywhere_resumes_to_the_same_bits(parametrisation, tmp_path):
    checkpoint = tmp_path / "checkpoint"
    child = subprocess.Popen([sys.executable, "-c", SLOWLY, parametrisation, str(checkpoint)], cwd=Path(__file__).parent)
    try:
        while not checkpoint.exists():
            assert child.poll() is None
            time.sleep(0.01)
        time.sleep(0.25)
    finally:
        child.kill()
    assert child.wait() == -signal.SIGKILL
    assert not list(tmp_path.glob("*.cache*"))  # the cache vanishes with its process
    again = []
    theta, keep, history = train_on_disk(parametrisation, Checkpoint(checkpoint), again.append)
    assert 1 < again[0] < 12
    expected_theta, expected_keep, expected_history = train_on_disk(parametrisation)
    assert torch.equal(theta, expected_theta) and torch.equal(keep, expected_keep) and history == expected_history


@only_gpt2
def test_a_loss_that_is_not_finite_stops_the_training(model):
    edits = single(model)
    edits.update.r[:] = math.nan
    with pytest.raises(OnemaskError, match="finite loss.*batch 0 of epoch 0"):
        mask_training.train(model, FRAME, edits, SETTINGS, 0)


@only_gpt2
def test_the_epochs_before_a_loss_that_is_not_finite_are_kept(model, tmp_path, monkeypatch):
    arguments, checkpoint = (model, FRAME, single(model), SETTINGS, 0), Checkpoint(tmp_path / "checkpoint")
    expected, step, done = mask_training.train(*arguments), mask_training.step, []

    def poisoned(model, texts, rows, update, *rest):
        done.append(rows)
        # three of four edits are trained on, in batches of two: the fourth step is the second of epoch 1
        return step(model, texts, rows, update.scaled(torch.tensor([math.nan] * 3)) if len(done) == 4 else update, *rest)

    monkeypatch.setattr(mask_training, "step", poisoned)
    with pytest.raises(OnemaskError, match="finite loss.*batch 1 of epoch 1"):
        mask_training.train(*arguments, checkpoint=checkpoint)
    monkeypatch.setattr(mask_training, "step", step)
    again = []
    theta, keep, history = mask_training.train(*arguments, checkpoint=checkpoint, callback=again.append)
    assert again == [2, 3]
    assert torch.equal(theta, expected[0]) and torch.equal(keep, expected[1]) and history == expected[2]


def test_validation_is_drawn_with_a_seed():
    training, validation = mask_training.hold_out(20, 0.25, seed=1)
    assert sorted([*training, *validation]) == list(range(20)) and len(validation) == 5
    assert (mask_training.hold_out(20, 0.25, seed=1)[1] == validation).all()
    assert (mask_training.hold_out(20, 0.25, seed=2)[1] != validation).any()


@pytest.mark.parametrize("count, share", [(1, 0.1), (2, 0.9)])
def test_validation_must_leave_edits_to_train_on(count, share):
    with pytest.raises(OnemaskError, match="more edits"):
        mask_training.hold_out(count, share, seed=0)
    assert [len(part) for part in mask_training.hold_out(count + 1, 0.1, seed=0)] == [count, 1]


def test_bfloat16_products_come_near(model):
    plain, edits = in_float32(model), some_edits(model)
    edits = LayerEdits(FactoredEdits(LAYER, edits.u.float(), edits.r.float()))
    keep = soft_keep(model).detach().float()
    exact, found = (factored_terms(plain, edits, keep, replace(SETTINGS, precision=name)) for name in ("float32", "bfloat16"))
    torch.testing.assert_close(found, exact, rtol=0.02, atol=0)
    assert ((found / exact - 1).abs() > 1e-4).any()
