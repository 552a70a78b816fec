"""Our decomposition against TransformerLens's, on a tiny random GPT-2."""

import os

import pandas as pd
import pytest
import torch

import tiny_model
from conftest import FACTS, random_network
from onemask.measuring.mechanism.decomposition import components, fold, names_of
from onemask.model.models import Model
from onemask.model.tokens import pad, prompt_ids

os.environ.setdefault("WANDB_MODE", "disabled")
transformer_lens = pytest.importorskip("transformer_lens.model_bridge", reason="TransformerLens is not installed")


def test_contributions_are_those_of_transformerlens(tmp_path):
    tokenizer = tiny_model.make_tokenizer(tiny_model.sentences())
    network = random_network("gpt2")
    network.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    ids = prompt_ids(tokenizer, pd.DataFrame(FACTS))[0]
    bridge = transformer_lens.TransformerBridge.boot_transformers(str(tmp_path), device="cpu")
    _, cache = bridge.run_with_cache(torch.tensor([ids]))
    stack, labels = cache.decompose_resid(return_labels=True, mode="all", pos_slice=-1)
    model = Model(network, tokenizer, "gpt2")
    with torch.no_grad():
        parts, stream = components(model, pad([ids]))
        column = model.unembed.weight[[7]]
        ours, _ = fold(model, parts, stream, column)
        scaled = cache.apply_ln_to_stack(stack, layer=-1, pos_slice=-1)
    theirs = dict(zip(labels, zip(stack[:, 0], scaled[:, 0], strict=True), strict=True))
    weight, missed = network.transformer.ln_f.weight, []
    for (layer, component), part, contribution in zip(names_of(model), parts[:, 0], ours[:, 0], strict=True):
        kind = {"attention": "attn", "mlp": "mlp"}.get(component)
        embedded = [sum(theirs[name][i] for name in ("embed", "pos_embed")) for i in (0, 1)]
        output, normed = theirs[f"{layer}_{kind}_out"] if kind else embedded
        torch.testing.assert_close(part, output, rtol=1e-4, atol=1e-5)
        expected = float((normed * weight) @ column[0])
        assert float(contribution) == pytest.approx(expected, rel=1e-4, abs=1e-4)
        missed.append(abs(float(part @ column[0]) - expected))
    assert max(missed) > 0.01  # without the norm they are others: the comparison can fail
