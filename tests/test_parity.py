"""Parity with EasyEdit's own ROME and MEMIT: run beside ours on random models, and as it once ran on the real model.

In float64 both are the same to rounding, so what is left in float32 is rounding. tests/data/easyeditor.* holds what EasyEdit
computed on SmolLM2-135M in float32 with right padding under six fixed templates: ROME's factors for six facts after 3 and after
up to 25 losses, MEMIT's for five facts. EasyEdit itself, run again on another machine, comes within 2.4e-5 of its own factors
after 3 losses and no closer, so nothing below that can be asked of ours in float32.
"""

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from conftest import FACTS, TEMPLATES
from onemask.editors import run as editing
from onemask.editors.base import Task
from onemask.editors.second_moment import SecondMoment
from onemask.model.models import load_model

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "results" / "assets" / "models" / "smollm2-135m"
DATA = ROOT / "tests" / "data" / "easyeditor.json"
needs_wheel = pytest.mark.skipif(importlib.util.find_spec("easyeditor") is None, reason="the wheel easyeditor is not installed")
needs_model = pytest.mark.skipif(not FOLDER.is_dir(), reason="the demo has not fetched SmolLM2-135M here")

OPTIMISATION = {
    "steps": 25, "lr": 0.5, "weight_decay": 1e-3, "kl_factor": 0.0625, "clamp_norm_factor": 4, "loss_threshold": 0.05,
    "precision": "float32", "edit_batch_tokens": 4000,
}  # fmt: skip


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.fixture
def doubled():
    """EasyEdit makes its delta in torch's default type."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def moments(model, layers) -> dict[int, SecondMoment]:
    found = {}
    for layer in layers:
        keys = torch.randn(4 * model.d_mlp, model.d_mlp, generator=torch.Generator().manual_seed(layer))
        found[layer] = SecondMoment(layer, keys.T @ keys / len(keys), len(keys))
    return found


@needs_wheel
@pytest.mark.parametrize(
    ("method", "own"),
    [
        ("rome", {"layer": 1, "mom2_adjustment": False}),
        ("rome", {"layer": 1, "mom2_adjustment": True}),
        ("memit", {"layers": [0, 2], "mom2_update_weight": 10.0}),
    ],
)
def test_ours_is_easyedits_to_rounding(model, doubled, method, own):
    """The same task through both doors; a constant that is off by 1% is seen.

    EasyEdit rounds MEMIT's updates to float32 before it goes on to the next layer: from the second on its rounding is left.
    """
    task = Task(model, FACTS[:2], TEMPLATES, moments(model, (0, 1, 2)))
    settings = OPTIMISATION | {"steps": 5} | own
    ours, theirs = (editing.edit(task, method, settings, editor) for editor in ("onemask", "easyeditor"))
    control = editing.edit(task, method, settings | {"kl_factor": 0.0625 * 1.01}, "onemask")
    assert ours.steps.tolist() == theirs.steps.tolist()
    torch.testing.assert_close(ours.trace, theirs.trace, rtol=0, atol=6e-4, equal_nan=True)
    for part, other, off in zip(ours.layers, theirs.layers, control.layers, strict=True):
        tolerance = 1e-9 if part is ours.layers[0] else 1e-6
        assert relative(part.sum(), other.sum()) < tolerance < relative(off.sum(), other.sum()) / 100


@needs_wheel
@needs_model
def test_ours_is_easyedits_to_rounding_on_the_real_model(doubled):
    reference = json.loads(DATA.read_text(encoding="utf-8"))
    task = Task(load_model(FOLDER, dtype="float64"), reference["facts"][:2], reference["templates"][:3])
    settings = OPTIMISATION | {"steps": 3, "layer": 5, "mom2_adjustment": False}
    ours, theirs = (editing.edit(task, "rome", settings, editor).layers[0] for editor in ("onemask", "easyeditor"))
    for i in range(2):
        assert relative(ours.dense(i), theirs.dense(i)) < 1e-9


@needs_model
@pytest.mark.parametrize(("steps", "tolerance"), [(3, 5e-5), (25, 1e-4)])
def test_rome_is_what_easyedit_computed(steps, tolerance):
    reference, factors = json.loads(DATA.read_text(encoding="utf-8")), load_file(DATA.with_suffix(".safetensors"))
    task = Task(load_model(FOLDER), reference["facts"], reference["templates"])
    found = editing.edit(task, "rome", OPTIMISATION | {"steps": steps, "layer": 5, "mom2_adjustment": False})
    traces = {
        (trace["fact"], trace["steps"]): trace["loss_trace"] for trace in reference["loss_traces"] if trace["method"] == "rome"
    }
    for i in range(len(task.facts)):
        expected = torch.outer(factors[f"rome.{i}.s{steps}.v"], factors[f"rome.{i}.s{steps}.u"])
        assert relative(found.layers[0].dense(i), expected) < tolerance
        trace = traces[i, steps]
        assert found.trace[i, : len(trace)].tolist() == pytest.approx(trace, abs=2e-3)


@needs_model
def test_memit_is_what_easyedit_computed():
    reference, factors = json.loads(DATA.read_text(encoding="utf-8")), load_file(DATA.with_suffix(".safetensors"))
    model = load_model(FOLDER)
    identity = {layer: SecondMoment(layer, 0.02 * torch.eye(model.d_mlp), 10**6) for layer in range(4, 9)}
    task = Task(model, reference["facts"][:5], reference["templates"], identity)
    found = editing.edit(task, "memit", OPTIMISATION | {"steps": 10, "layers": [4, 5, 6, 7, 8], "mom2_update_weight": 1500})
    for part in found.layers:
        keys, residuals = factors[f"memit.layer{part.layer}.adj_k"], factors[f"memit.layer{part.layer}.resid"]
        assert relative(part.sum(), residuals @ keys.T) < 1e-4
