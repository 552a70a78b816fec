"""How much device memory a stage takes at its peak, counted on a model without memory (torch's meta device).

What a backward pass keeps is not estimated but counted: the blocks run, and every tensor that autograd saves is measured.
"""

import dataclasses
import functools

import torch
from torch import Tensor

from onemask.config import settings as config
from onemask.editors.second_moment import STRIPS
from onemask.model.forward import causal_mask, run_blocks
from onemask.model.models import Model, weights_type
from onemask.model.shape import empty_model
from onemask.planning.costs import TEXTS, TEXTS_AN_EDIT, contexts

FLOAT32, FLOAT64 = 4, 8


def meta_model(settings: config.Model) -> Model:
    """A model of a shape, which its file states, on the meta device."""
    assert settings.shape is not None
    return _meta_model(settings.family, settings.shape, weights_type(settings.dtype))


@functools.cache
def _meta_model(family: str, shape: config.Shape, dtype: str) -> Model:
    return Model(empty_model(family, dataclasses.asdict(shape), dtype), None, family)


def weights(model: Model) -> int:
    """Bytes of all weights."""
    return sum(parameter.numel() * parameter.element_size() for parameter in model.network.parameters())


def saved(model: Model, layer: int, rows: int, length: int, dtype: torch.dtype, device: str = "meta") -> int:
    """Bytes that autograd keeps of the blocks behind `layer`, whose input is differentiated, weights not counted."""
    own = {parameter.untyped_storage()._cdata for parameter in model.network.parameters()}
    sizes: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            sizes[storage._cdata] = storage.nbytes()
        held.append(tensor)  # else a freed storage's number would come again
        return tensor

    held: list[Tensor] = []
    hidden = torch.ones(rows, length, model.d_model, device=device, dtype=dtype, requires_grad=True)
    lengths, positions = torch.full((rows,), length, device=device), torch.arange(length, device=device)[None]
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16),
    ):
        run_blocks(model, hidden, range(layer + 1, model.n_layers), causal_mask(lengths, length), positions)
    return sum(sizes.values())


def token_memory(model: Model) -> int:
    """Bytes that a token takes in one block, forward only."""
    return (2 * model.d_model + 3 * model.d_mlp) * model.weight(0).element_size()


def moments_peak(model: Model, layers: int, batch_tokens: int) -> int:
    """Bytes at the peak of measuring the second moments of several layers in one pass."""
    sums = (layers * FLOAT64 + (FLOAT32 + FLOAT64) / STRIPS) * model.d_mlp**2
    return round(weights(model) + sums + batch_tokens * token_memory(model))


def peaks(
    settings: config.Model, editing: dict, batch_tokens: int, windows: config.Perplexity, joint: int, texts: str
) -> dict[str, int]:
    """Bytes at the peak of each stage that runs the model, by stage.

    settings: a model's. editing: a method's settings on it. joint: facts of a joint edit, 0 where each is one.
    """
    model = meta_model(settings)
    layer = editing.get("layer", editing.get("layers", [0])[-1])
    own, length = weights(model), TEXTS[texts]
    item = model.weight(0).element_size()
    matrix = model.d_model * model.d_mlp
    vocabulary = model.unembed.weight.shape[0]
    forward = token_memory(model)

    def logits(places: float, copies: int) -> float:
        return copies * FLOAT32 * vocabulary * places

    def trained(tokens: int, precision: str, a_text: float) -> int:
        dtype = torch.bfloat16 if precision == "bfloat16" else model.weight(0).dtype
        return saved(model, layer, max(1, round(tokens / a_text)), round(a_text), dtype)

    mask, suffix = settings.mask, length["suffix"] + length["object"] - 1
    rows = editing["edit_batch_tokens"] / (length["prompt"] + contexts(editing)[1])
    extra = {
        "reversal": logits(batch_tokens / length["prompt"], 4) + batch_tokens * forward,
        "perplexity": logits(windows.window, 3) + 2 * windows.tokens * (model.d_model + model.d_mlp) * item,
    }
    extra["edits"] = trained(round(rows * suffix), editing["precision"], suffix) + logits(rows * length["object"], 5)
    text = (length["prompt"] + (TEXTS_AN_EDIT - 1) * length["paraphrase"]) / TEXTS_AN_EDIT
    tokens = min(mask.batch_tokens, round(mask.batch_edits * TEXTS_AN_EDIT * text))
    extra["mask"] = trained(tokens, mask.precision, text) + logits(tokens / text, 5)
    # theta, AdamW's two moments, both gradients, soft and hard mask, and the masked weights
    extra["mask"] += 8 * FLOAT32 * matrix + FLOAT32 * matrix * bool(joint)
    if "layers" in editing:
        extra["edits"] += 3 * FLOAT64 * model.d_mlp**2 + 4 * FLOAT64 * model.d_mlp * joint
    return {stage: round(own + taken) for stage, taken in extra.items()}
