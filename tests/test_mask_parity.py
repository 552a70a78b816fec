"""Parity of the mask's training with the plain one (dense_mask_training): the same losses and the same theta, step by step.

In float64, theta included, both differ by rounding alone; so what is left between them in float32 is rounding too. From 24 first
thetas (8 a family), 20 float32 steps differed by at most 5.5e-6 in a loss and 1.6e-6 in theta; in the change of theta mostly by
1e-6 and by at most 9e-5, where Adam had blown up one gradient of rounding's size. The plain training in float32 is as far from
itself in float64.
"""

from dataclasses import replace

import pytest
import torch

import dense_mask_training as dense
from onemask.masking import training as mask_training
from onemask.masking.settings import schedule
from onemask.model.edits import FactoredEdits, LayerEdits
from test_algebra import LAYER, some_edits
from test_masking import FRAME, SETTINGS, in_float32

STEPS = 20
# some gradients are longer than this bound, so that it matters (Adam would hide one that binds always)
BOUND = replace(SETTINGS, gradient_clip=0.1)
# float32 at the paper's learning rate; float64 at one that moves theta by most of its length
SETTINGS_OF = {torch.float64: BOUND, torch.float32: replace(BOUND, lr=1e-3)}
TOLERANCES = {
    torch.float64: {"loss": 1e-12, "theta": 1e-12, "change": 1e-12},
    torch.float32: {"loss": 1e-5, "theta": 1e-5, "change": 3e-4},
}
both_types = pytest.mark.parametrize("dtype", TOLERANCES)


def batches() -> list[torch.Tensor]:
    """Two edits for each step."""
    generator = torch.Generator().manual_seed(1)
    return [torch.randperm(len(FRAME), generator=generator)[:2] for _ in range(STEPS)]


def cast(model, dtype):
    """The model, some edits and the first theta in one type; the model is float64."""
    edits = some_edits(model)
    theta = mask_training.new_state(model, BOUND, 0).theta.detach().to(dtype)
    plain = model if dtype == torch.float64 else in_float32(model)
    return plain, FactoredEdits(LAYER, edits.u.to(dtype), edits.r.to(dtype)), theta


def train(model, edits, theta, settings) -> tuple[list[float], torch.Tensor]:
    """Losses and last theta of onemask.masking.training."""
    texts = mask_training.prepare(model, LayerEdits(edits), FRAME, settings)
    theta = theta.clone().requires_grad_(True)
    optimiser = torch.optim.AdamW([theta], lr=settings.lr, weight_decay=0.0)
    state, losses = mask_training.State(theta, optimiser, torch.Generator(), []), []
    for number, chosen in enumerate(batches()):
        rows = torch.isin(texts.edit, chosen).nonzero()[:, 0]
        now = schedule(settings, number / (STEPS - 1))
        losses.append(mask_training.step(model, texts, rows, edits, settings, now, state, torch.Generator())["loss"])
    return losses, theta.detach()


def train_densely(model, edits, theta, settings, frame=FRAME, padded=False) -> tuple[list[float], torch.Tensor]:
    records = dense.make_records(model, frame, edits)
    trainer = dense.Trainer(model, LAYER, settings, theta, padded)
    losses = [
        trainer.step([records[i] for i in chosen], schedule(settings, number / (STEPS - 1)))
        for number, chosen in enumerate(batches())
    ]
    return losses, trainer.theta.detach()


def difference(found, expected, start) -> dict[str, float]:
    """Largest relative difference of a step's loss; of theta, and of its change since `start`, by norms."""
    losses = (abs(one - other) / abs(other) for one, other in zip(found[0], expected[0], strict=True))
    error = (found[1] - expected[1]).norm()
    return {
        "loss": max(losses),
        "theta": float(error / expected[1].norm()),
        "change": float(error / (expected[1] - start).norm()),
    }


def exceeded(found: dict[str, float], dtype) -> list[str]:
    return [name for name, value in found.items() if not value < TOLERANCES[dtype][name]]


@pytest.mark.parametrize("padded", [False, True])
@both_types
def test_training_is_the_plain_one_step_by_step(model, dtype, padded):
    plain, edits, theta = cast(model, dtype)
    settings = SETTINGS_OF[dtype]
    expected = train_densely(plain, edits, theta, settings, padded=padded)
    found = difference(train(plain, edits, theta, settings), expected, theta)
    assert not exceeded(found, dtype), found
    assert (expected[1] - theta).norm() > STEPS / 2 * settings.lr * theta.numel() ** 0.5


CONTROLS = {
    "temperature": {"temperature_start": 1.05 * BOUND.temperature_start},
    "gradient clip": {"gradient_clip": 1.1 * BOUND.gradient_clip},
    "margin": {"delta_margin": 1.01 * BOUND.delta_margin},
    "texts": {},
}


@pytest.mark.parametrize("control", CONTROLS)
@both_types
def test_another_training_is_seen(model, dtype, control):
    """The negative control: a constant that is off by some percent, or one text of twelve that is missing."""
    plain, edits, theta = cast(model, dtype)
    settings = SETTINGS_OF[dtype]
    fewer = FRAME.assign(paraphrases=[FRAME["paraphrases"][0][:1], *FRAME["paraphrases"][1:]])
    other, frame = replace(settings, **CONTROLS[control]), fewer if control == "texts" else FRAME
    found = difference(train(plain, edits, theta, settings), train_densely(plain, edits, theta, other, frame), theta)
    assert exceeded(found, dtype), found
