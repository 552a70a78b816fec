"""Mask training: the factored loss is the dense one, schedules are appendix A's, a broken training resumes exactly."""

import math
from dataclasses import replace

import pandas as pd
import pytest
import torch
from torch.func import functional_call

from conftest import FACTS
from onemask import mask_training
from onemask.errors import OnemaskError
from onemask.mask_training import MaskSettings
from onemask.tokens import encode, encode_target
from test_algebra import LAYER, some_edits

SETTINGS = MaskSettings(
    parametrisation="sigmoid", epochs=3, lr=0.05, batch_edits=2, gamma=0.5, s_max=0.1, delta_margin=3.0, beta_kl=3.26,
    theta_mean=0.85, theta_sd=0.1, tau_start=6.0, tau_decay=3.0, temperature_start=1.64, temperature_end=4.30,
    lambda_start=1e-6, lambda_end=60.0, gradient_clip=1.0, validation_share=0.25,
)  # fmt: skip
FRAME = pd.DataFrame([{**fact, "paraphrases": [f"Say, {fact['subject']} is", "Of " + fact["subject"]]} for fact in FACTS])
TEMPERATURE = 2.0


def weight_name(model) -> str:
    return next(name for name, parameter in model.network.named_parameters() if parameter is model.matrix(LAYER).weight)


def dense_terms(model, edits, keep):
    """Equation 1's hinge and KL_T, record by record, with the whole matrix W_hat * K swapped into the plain model."""
    hinges, divergences = [], []
    for i, fact in FRAME.iterrows():
        matrix = (model.weight(LAYER) + edits.dense(i)) * keep
        swapped = {weight_name(model): matrix.T if model.family.transposed else matrix}
        true, new = (encode_target(model.tokenizer, fact[name])[0] for name in ("target_true", "target_new"))
        for text in [fact["prompt"].replace("{}", fact["subject"]), *fact["paraphrases"]]:
            ids = torch.tensor([encode(model.tokenizer, text)])
            logits = functional_call(model.network, swapped, (ids,)).logits[0, -1]
            with torch.no_grad():
                original = (model.network(ids).logits[0, -1] / TEMPERATURE).log_softmax(-1)
            log_probs = logits.log_softmax(-1)
            hinges.append(torch.relu(log_probs[new] - log_probs[true] + SETTINGS.delta_margin))
            pruned = (logits / TEMPERATURE).log_softmax(-1)
            divergences.append(TEMPERATURE**2 * (original.exp() * (original - pruned)).sum())
    return torch.stack(hinges).mean(), torch.stack(divergences).mean()


def soft_keep(model) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.rand(model.d_model, model.d_mlp, generator=generator).double().requires_grad_(True)


def test_factored_loss_and_gradient_are_the_dense_ones(model):
    edits = some_edits(model)
    texts = mask_training.prepare(model, LAYER, FRAME)
    dense_keep, keep = soft_keep(model), soft_keep(model)
    expected = dense_terms(model, edits, dense_keep)
    found = mask_training.terms(model, texts, torch.arange(len(texts.edit)), edits, keep, TEMPERATURE, SETTINGS.delta_margin)
    for one, other in zip(found, expected, strict=True):
        assert float(one.detach()) == pytest.approx(float(other.detach()), rel=1e-5)
    sum(expected).backward()
    sum(found).backward()
    torch.testing.assert_close(keep.grad, dense_keep.grad, rtol=1e-4, atol=1e-7)


def test_schedules_end_where_appendix_a_says():
    start, end = mask_training.schedule(SETTINGS, 0.0), mask_training.schedule(SETTINGS, 1.0)
    assert (start.tau, end.tau) == (6.0, pytest.approx(6 * math.exp(-3)))
    assert (start.temperature, end.temperature) == (1.64, pytest.approx(4.30))
    assert (start.weight, end.weight) == (1e-6, pytest.approx(60.0))


def test_a_weight_is_kept_from_gamma_on():
    theta = torch.tensor([[math.log(0.7 / 0.3) - 1e-3, math.log(0.7 / 0.3) + 1e-3]])
    assert mask_training.hard_mask(theta, replace(SETTINGS, gamma=0.7), tau=1.0).tolist() == [[False, True]]


def test_topk_prunes_its_budget_exactly_and_passes_the_gradient_through():
    settings = replace(SETTINGS, parametrisation="topk", s_max=0.25)
    theta = torch.randn(8, 10, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    keep = mask_training.soft_mask(theta, settings, tau=1.0)
    assert int((keep == 0).sum()) == 20
    assert float(theta.detach()[keep.detach() == 0].max()) < float(theta.detach()[keep.detach() == 1].min())
    (keep * torch.arange(10.0)).sum().backward()
    assert torch.equal(theta.grad, torch.arange(10.0).expand(8, 10))


class Killed(Exception):
    pass


@pytest.mark.parametrize("model", ["gpt2"], indirect=True)
def test_a_killed_training_resumes_to_the_same_mask(model, tmp_path):
    arguments = (model, FRAME, some_edits(model), SETTINGS, 0)
    theta, keep, history = mask_training.train(*arguments)
    checkpoint = tmp_path / "checkpoint"

    def kill(row):
        if row["epoch"] == 2:
            raise Killed

    with pytest.raises(Killed):
        mask_training.train(*arguments, checkpoint, "a", kill)
    again = []
    resumed, resumed_keep, resumed_history = mask_training.train(*arguments, checkpoint, "a", again.append)
    assert [row["epoch"] for row in again] == [2]
    assert torch.equal(theta, resumed) and torch.equal(keep, resumed_keep) and history == resumed_history
    other = []
    mask_training.train(*arguments, checkpoint, "of another training", other.append)
    assert [row["epoch"] for row in other] == [0, 1, 2]


@pytest.mark.parametrize("model", ["gpt2"], indirect=True)
def test_a_loss_that_is_not_finite_stops_the_training(model):
    edits = some_edits(model)
    edits.r[:] = math.nan
    with pytest.raises(OnemaskError, match="finite loss.*batch 0 of epoch 0"):
        mask_training.train(model, FRAME, edits, SETTINGS, 0)


def test_validation_is_drawn_with_a_seed():
    training, validation = mask_training.hold_out(20, 0.25, seed=1)
    assert sorted([*training, *validation]) == list(range(20)) and len(validation) == 5
    assert (mask_training.hold_out(20, 0.25, seed=1)[1] == validation).all()
    assert (mask_training.hold_out(20, 0.25, seed=2)[1] != validation).any()
