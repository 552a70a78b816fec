"""Parity with EasyEdit's own ROME on the real model, where the demo has fetched it.

tests/data/easyeditor_rome.* holds what EasyEdit computed on SmolLM2-135M in float32 with right padding: factors after the full
optimisation and loss traces to three digits, for six facts under six fixed templates.
"""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from onemask import rome
from onemask.models import load_model

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "results" / "assets" / "models" / "smollm2-135m"
DATA = ROOT / "tests" / "data" / "easyeditor_rome.json"


@pytest.mark.skipif(not FOLDER.is_dir(), reason="the demo has not fetched SmolLM2-135M here")
def test_edits_are_easyedits():
    reference = json.loads(DATA.read_text(encoding="utf-8"))
    factors = load_file(DATA.with_suffix(".safetensors"))
    said = reference["rome"]
    settings = rome.RomeSettings(
        layer=said["layer"], steps=25, lr=said["v_lr"], weight_decay=said["v_weight_decay"], kl_factor=said["kl_factor"],
        clamp_norm_factor=said["clamp_norm_factor"], loss_threshold=0.05, batch_tokens=4000,
    )  # fmt: skip
    result = rome.edit(load_model(FOLDER), reference["facts"], reference["templates"], settings)
    for i, trace in enumerate(reference["loss_traces"]):
        expected = torch.outer(factors[f"rome.{i}.v"], factors[f"rome.{i}.u"])
        assert float((result.edits.dense(i) - expected).norm() / expected.norm()) < 1e-4
        assert result.traces[i] == pytest.approx(trace, abs=2e-3)
