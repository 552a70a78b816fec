"""Our forward pass against the network's own, on every family and whatever its config may say of a block."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from conftest import random_network
from onemask.io.errors import OnemaskError
from onemask.model.edits import product
from onemask.model.forward import KVCache, causal_mask, embed, finish, logits_at, run_blocks, run_to
from onemask.model.models import Model
from onemask.model.tokens import pad

LAYERS, CONTEXT = 3, 48
BOOLEAN = st.booleans()
ROPE = st.sampled_from(
    [
        {"rope_type": "default", "rope_theta": 100.0},
        {"rope_type": "linear", "factor": 2.5, "rope_theta": 100.0},
        {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
         "original_max_position_embeddings": 16, "rope_theta": 100.0},
        {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 16, "rope_theta": 100.0},
    ]
)  # fmt: skip
SHARED = {"num_hidden_layers": st.just(LAYERS), "tie_word_embeddings": BOOLEAN, "num_key_value_heads": st.sampled_from([1, 2, 4])}
OPTIONS = {
    "gpt2": {
        "n_layer": st.just(LAYERS),
        "tie_word_embeddings": BOOLEAN,
        "scale_attn_weights": BOOLEAN,
        "scale_attn_by_inverse_layer_idx": BOOLEAN,
        "activation_function": st.sampled_from(["gelu_new", "relu", "silu"]),
        "n_inner": st.sampled_from([None, 24, 80]),
    },
    "llama": SHARED
    | {"attention_bias": BOOLEAN, "mlp_bias": BOOLEAN, "rope_parameters": ROPE, "head_dim": st.sampled_from([4, 8])},
    "qwen2": SHARED
    | {
        "use_sliding_window": BOOLEAN,
        "sliding_window": st.integers(1, 12),
        "max_window_layers": st.integers(0, LAYERS),
        "rope_parameters": ROPE,
    },
}
families = pytest.mark.parametrize("family", OPTIONS)
ROWS = st.lists(st.lists(st.integers(1, 3999), min_size=2, max_size=CONTEXT), min_size=1, max_size=3)


def network_logits(model: Model, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return model.network(torch.tensor([ids])).logits[0]


@families
@given(data=st.data(), rows=ROWS, layer=st.integers(0, LAYERS - 1))
def test_the_two_halves_are_the_network(family, tokenizer, data, rows, layer):
    options = data.draw(st.fixed_dictionaries(OPTIONS[family]))
    model = Model(random_network(family, **options).double(), tokenizer, family)
    at_layer = run_to(model, layer, pad(rows))
    with torch.no_grad():
        logits = logits_at(model, finish(model, at_layer, product(at_layer.keys, model.weight(layer))))
    for row, ids in enumerate(rows):
        torch.testing.assert_close(logits[row, : len(ids)], network_logits(model, ids), rtol=1e-8, atol=1e-8)


@families
@given(data=st.data(), ids=st.lists(st.integers(1, 3999), min_size=2, max_size=CONTEXT))
def test_a_text_behind_its_cached_beginning_is_the_whole_text(family, tokenizer, data, ids):
    options = data.draw(st.fixed_dictionaries(OPTIONS[family]))
    cut = data.draw(st.integers(1, len(ids) - 1))
    model, positions = Model(random_network(family, **options).double(), tokenizer, family), torch.arange(len(ids))[None]
    tokens, lengths = torch.tensor([ids]), torch.tensor([len(ids)])
    cache = KVCache({}, record=range(LAYERS))
    with torch.no_grad():
        run_blocks(model, embed(model, tokens[:, :cut]), range(LAYERS), causal_mask(lengths, cut), positions[:, :cut], cache)
        mask = causal_mask(lengths, len(ids) - cut, torch.ones(1, cut, dtype=torch.bool))
        rest = embed(model, tokens[:, cut:], positions[:, cut:])
        hidden = run_blocks(model, rest, range(LAYERS), mask, positions[:, cut:], KVCache(cache.recorded))
        logits = logits_at(model, hidden)[0]
    torch.testing.assert_close(logits, network_logits(model, ids)[cut:], rtol=1e-8, atol=1e-8)


def test_without_its_windows_a_model_is_another(tokenizer):
    """The negative control: the tests above would see a forgotten window."""
    options = {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 0}
    model, ids = Model(random_network("qwen2", **options).double(), tokenizer, "qwen2"), list(range(1, 30))
    model.windows = [None] * model.n_layers
    at_layer = run_to(model, 1, pad([ids]))
    with torch.no_grad():
        logits = logits_at(model, finish(model, at_layer, product(at_layer.keys, model.weight(1))))[0]
    difference = (logits.log_softmax(-1) - network_logits(model, ids).log_softmax(-1)).abs()
    assert difference[:4].max() < 1e-8 and difference[4:].max() > 0.1


def test_attention_of_another_kind_is_refused(tokenizer):
    network = random_network("qwen2")
    network.config.layer_types = ["full_attention", "chunked_attention", "full_attention", "full_attention"]
    with pytest.raises(OnemaskError, match="each one of full_attention, sliding_attention.*found chunked_attention"):
        Model(network, tokenizer, "qwen2")
