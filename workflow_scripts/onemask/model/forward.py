"""The forward pass in two halves: what an edit of layer l cannot change, once; what it can, as often as needed.

Everything up to the input of the edited matrix W is constant while W or the output of its block changes. `run_to`
computes that half, a `LayerInput`; `finish` runs the blocks behind it. Blocks are transformers' own modules.
"""

import contextlib
from collections.abc import Generator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from onemask.model.models import Model
from onemask.model.packing import Packed, pack
from onemask.model.tokens import Padded


def causal_mask(
    lengths: Int[Tensor, " rows"], length: int, prefix: Bool[Tensor, "rows prefix"] | None = None
) -> Bool[Tensor, "rows 1 length prefix_and_length"]:
    """Attention mask, true where a query may look.

    Padding lies right of the tokens; `prefix` marks the valid cached positions left of them.
    """
    ones = torch.ones(length, length, dtype=torch.bool, device=lengths.device).tril()
    mask = ones.expand(len(lengths), length, length)
    if prefix is not None:
        mask = torch.cat([prefix[:, None, :].expand(-1, length, -1), mask], dim=2)
    return mask[:, None]


Heads = Float[Tensor, "_rows heads _length d_head"]
KV = dict[int, tuple[Heads, Heads]]  # keys and values by layer


class KVCache:
    """Stands in for a transformers cache: puts a prefix's keys and values before those that come, and records where asked.

    prefix: by layer. rows: which row of it stands before each row that comes (None: the same). record: layers whose keys and
    values, the prefix's included, go into `recorded`.
    """

    def __init__(self, prefix: KV, rows: Int[Tensor, " rows"] | None = None, record: range = range(0)):
        self.prefix, self.rows, self.record = prefix, rows, record
        self.recorded: KV = {}

    def update(self, keys: Tensor, values: Tensor, layer: int, *_, **__) -> tuple[Tensor, Tensor]:
        if layer in self.prefix:
            before = self.prefix[layer] if self.rows is None else tuple(part[self.rows] for part in self.prefix[layer])
            keys, values = torch.cat([before[0], keys], dim=2), torch.cat([before[1], values], dim=2)
        if layer in self.record:
            self.recorded[layer] = (keys, values)
        return keys, values


def _within(mask: Bool[Tensor, "rows 1 length keys"], window: int) -> Bool[Tensor, "rows 1 length keys"]:
    """An attention mask of which a query sees only the last `window` positions, its own among them.

    Padding stands right of a row's tokens and left of its prefix's, so that places differ by as much as positions do.
    """
    length, keys = mask.shape[2:]
    query = torch.arange(keys - length, keys, device=mask.device)[:, None]
    return mask & (query - torch.arange(keys, device=mask.device) < window)


def embed(
    model: Model, ids: Int[Tensor, "rows length"], positions: Int[Tensor, "rows_or_1 length"] | None = None
) -> Float[Tensor, "rows length d_model"]:
    """Residual stream before block 0. positions: counted from 0 by default."""
    hidden = model.embed(ids)
    if model.pos_embed is not None:
        positions = torch.arange(ids.shape[1], device=ids.device) if positions is None else positions
        hidden = hidden + model.pos_embed(positions)
    return hidden


def run_blocks(
    model: Model,
    hidden: Float[Tensor, "rows length d_model"],
    layers: range,
    mask: Bool[Tensor, "rows 1 length keys"],
    positions: Int[Tensor, "rows_or_1 length"],
    cache: KVCache | None = None,
) -> Float[Tensor, "rows length d_model"]:
    """Residual stream behind the last of `layers`, from the one before the first.

    mask: as of full attention; a layer with a sliding window sees less. positions: absolute, for rotary embeddings.
    """
    rotary = {} if model.rotary is None else {"position_embeddings": model.rotary(hidden, positions)}
    masks = {window: mask if window is None else _within(mask, window) for window in set(model.windows)}
    for layer in layers:
        hidden = model.blocks[layer](
            hidden,
            attention_mask=masks[model.windows[layer]],
            past_key_values=cache,
            use_cache=cache is not None,
            position_ids=positions,
            **rotary,
        )
    return hidden


def at_least_float32(tensor: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """Half precision as float32; float32 and float64 as they are (a float64 model is computed in float64 throughout)."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def logits_at(model: Model, hidden: Float[Tensor, "*places d_model"]) -> Float[Tensor, "*places d_vocab"]:
    """Logits of residual streams behind the last block, float32 at least."""
    return at_least_float32(model.unembed(model.final_norm(hidden)))


@dataclass(frozen=True)
class LayerInput:
    """Texts at the edited layer, right-padded.

    keys: input of W. base: everything the block adds up to except W's product, so that the block's output is
    `base + keys @ W.T`.
    """

    layer: int
    keys: Float[Tensor, "rows length d_mlp"]
    base: Float[Tensor, "rows length d_model"]
    lengths: Int[Tensor, " rows"]

    def __getitem__(self, rows) -> "LayerInput":
        lengths = self.lengths[rows]
        longest = int(lengths.max())
        return LayerInput(self.layer, self.keys[rows, :longest], self.base[rows, :longest], lengths)


def run_to(model: Model, layer: int, tokens: Padded) -> LayerInput:
    """Run blocks 0..layer on right-padded tokens and stop at the input of W."""
    ids, lengths = tokens.ids.to(model.device), tokens.lengths.to(model.device)
    inputs = {}
    norm = model.block(layer).get_submodule(model.family.mlp_norm)
    with (
        norm.register_forward_pre_hook(lambda _, args: inputs.update(base=args[0])),
        model.matrix(layer).register_forward_pre_hook(lambda _, args: inputs.update(keys=args[0])),
        torch.inference_mode(),
    ):
        positions = torch.arange(ids.shape[1], device=ids.device)[None]
        run_blocks(model, embed(model, ids), range(layer + 1), causal_mask(lengths, ids.shape[1]), positions)
        if model.bias(layer) is not None:
            inputs["base"] = inputs["base"] + model.bias(layer)
    # copies made outside inference mode, so that mask training may differentiate through what is computed from them
    return LayerInput(layer, inputs["keys"].clone(), inputs["base"].clone(), lengths)


def finish(
    model: Model, at_layer: LayerInput, product: Float[Tensor, "rows length d_model"]
) -> Float[Tensor, "rows length d_model"]:
    """Residual stream behind the last block, given W's product with its input.

    What stands behind a row's length is not to be read.
    """
    packed = pack(at_layer.lengths.tolist(), product.shape[1], product.device)
    return _behind(model, at_layer, product, packed)[packed.place]


def finish_at(
    model: Model,
    at_layer: LayerInput,
    product: Float[Tensor, "rows length d_model"],
    texts: Int[Tensor, " tokens"],
    positions: Int[Tensor, " tokens"],
) -> Float[Tensor, "tokens d_model"]:
    """`finish` at some tokens, given by text and position: the last block's MLP runs on these alone."""
    packed = pack(at_layer.lengths.tolist(), product.shape[1], product.device)
    places = packed.place[texts, positions]
    with _only_at(model.block(model.n_layers - 1).get_submodule(model.family.mlp), places):
        return _behind(model, at_layer, product, packed)[places]


def _behind(
    model: Model, at_layer: LayerInput, product: Float[Tensor, "rows length d_model"], packed: Packed
) -> Float[Tensor, "packed_tokens d_model"]:
    """Residual stream behind the last block of all packed tokens."""
    stream = (at_layer.base + product).flatten(0, 1)[packed.source]
    return run_blocks(model, stream, range(at_layer.layer + 1, model.n_layers), packed.mask, packed.positions).flatten(0, 1)


@contextlib.contextmanager
def _only_at(mlp: torch.nn.Module, places: Int[Tensor, " tokens"]) -> Generator[None, None, None]:
    """Within the block an MLP computes its output at some of the tokens of its input; elsewhere it is 0."""
    shape = []

    def gather(_, args: tuple[Tensor]) -> Tensor:
        shape[:] = args[0].shape
        return args[0].flatten(0, 1)[places]

    def scatter(_, args: tuple[Tensor], out: Tensor) -> Tensor:
        return out.new_zeros(shape).flatten(0, 1).index_copy(0, places, out).view(shape)

    places = places.unique()  # a token that is read twice gets its gradient once
    with mlp.register_forward_pre_hook(gather), mlp.register_forward_hook(scatter):
        yield


def ends(lengths: Int[Tensor, " texts"]) -> tuple[Int[Tensor, " texts"], Int[Tensor, " texts"]]:
    """Text and position of each text's last token."""
    return torch.arange(len(lengths), device=lengths.device), lengths - 1


def last(hidden: Float[Tensor, "rows length d"], lengths: Int[Tensor, " rows"]) -> Float[Tensor, "rows d"]:
    """The entries at each row's last token."""
    return hidden[ends(lengths)]
