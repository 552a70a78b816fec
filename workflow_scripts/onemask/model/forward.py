"""The forward pass in two halves: what an edit of layer l cannot change, once; what it can, as often as needed.

Everything up to the input of the edited matrix W is constant while W or the output of its block changes. `split_at`
computes that half and keeps it as a `Cut`; `finish` runs the blocks behind it. Blocks are transformers' own modules.
"""

import contextlib
from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor

from onemask.model.models import Model
from onemask.model.tokens import Padded


def causal_mask(lengths: Tensor, length: int, prefix: Tensor | None = None) -> Tensor:
    """Boolean attention mask (rows, 1, length, prefix + length), true where a query may look.

    Padding lies right of the tokens; `prefix` (rows, prefix length) marks the valid cached positions left of them.
    """
    ones = torch.ones(length, length, dtype=torch.bool, device=lengths.device).tril()
    mask = ones.expand(len(lengths), length, length)
    if prefix is not None:
        mask = torch.cat([prefix[:, None, :].expand(-1, length, -1), mask], dim=2)
    return mask[:, None]


KeysValues = dict[int, tuple[Tensor, Tensor]]  # by layer; each (rows, heads, length, d_head)


class KeyValueCache:
    """Stands in for a transformers cache: puts kept keys and values before those that come, and records them where asked.

    before: what is kept, by layer. rows: which row of it stands before each row that comes (None: the same). record: layers
    whose keys and values, those before included, are wanted in `recorded`.
    """

    def __init__(self, before: KeysValues, rows: Tensor | None = None, record: range = range(0)):
        self.before, self.rows, self.record = before, rows, record
        self.recorded: KeysValues = {}

    def update(self, keys: Tensor, values: Tensor, layer: int, *_, **__) -> tuple[Tensor, Tensor]:
        if layer in self.before:
            kept = self.before[layer] if self.rows is None else tuple(part[self.rows] for part in self.before[layer])
            keys, values = torch.cat([kept[0], keys], dim=2), torch.cat([kept[1], values], dim=2)
        if layer in self.record:
            self.recorded[layer] = (keys, values)
        return keys, values


def embed(model: Model, ids: Tensor, positions: Tensor | None = None) -> Tensor:
    """Residual stream before block 0, (rows, length, d_model). positions: (rows or 1, length), counted from 0 by default."""
    hidden = model.embedding(ids)
    if model.positions is not None:
        positions = torch.arange(ids.shape[1], device=ids.device) if positions is None else positions
        hidden = hidden + model.positions(positions)
    return hidden


def run_blocks(model: Model, hidden: Tensor, layers: range, mask: Tensor, positions: Tensor, cache=None) -> Tensor:
    """Residual stream behind the last of `layers`, from the one before the first; same shape.

    `positions` is (rows or 1, length): absolute positions, for rotary embeddings.
    """
    rotary = {} if model.rotary is None else {"position_embeddings": model.rotary(hidden, positions)}
    for layer in layers:
        hidden = model.blocks[layer](
            hidden,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=cache is not None,
            position_ids=positions,
            **rotary,
        )
    return hidden


def at_least_float32(tensor: Tensor) -> Tensor:
    """Half precision as float32; float32 and float64 as they are (a float64 model is computed in float64 throughout)."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def logits_at(model: Model, hidden: Tensor) -> Tensor:
    """Logits (..., vocabulary) of residual streams (..., d_model) behind the last block, float32 at least."""
    return at_least_float32(model.head(model.final_norm(hidden)))


PACKED_TOKENS = 128  # a packed row: attention between its texts, which is masked, costs little beside the blocks' matrices


@dataclass(frozen=True)
class Packed:
    """Texts side by side in rows, each seeing only itself, so that no time goes into padding.

    source: (packed rows, width), index into the padded texts' tokens. place: (texts, length), index into the packed tokens.
    mask: (packed rows, 1, width, width), true where a query may look. positions: (packed rows, width), within each text.
    """

    source: Tensor
    place: Tensor
    mask: Tensor
    positions: Tensor


def pack(lengths: list[int], length: int, device: torch.device) -> Packed:
    """Pack texts of some lengths, padded to `length`, longest first, each into the first row with room for it."""
    rows = max(1, round(sum(lengths) / PACKED_TOKENS))
    width = max(max(lengths), -(-sum(lengths) // rows) + min(lengths) - 1)
    filled: list[int] = []
    starts = torch.zeros(len(lengths), dtype=torch.int64)
    for text in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        row = next((i for i, used in enumerate(filled) if used + lengths[text] <= width), len(filled))
        if row == len(filled):
            filled.append(0)
        starts[text] = row * width + filled[row]
        filled[row] += lengths[text]
    within = torch.arange(length).minimum(torch.tensor(lengths)[:, None] - 1)
    place = starts[:, None] + within
    source, owner, positions = (torch.zeros(len(filled) * width, dtype=torch.int64) for _ in range(3))
    texts = torch.arange(len(lengths))[:, None].expand_as(place)
    source[place], owner[place], positions[place] = texts * length + within, texts + 1, within
    source, owner, positions = (part.view(len(filled), width).to(device) for part in (source, owner, positions))
    causal = torch.ones(width, width, dtype=torch.bool, device=device).tril()
    mask = (owner[:, :, None] == owner[:, None, :]) & causal
    return Packed(source, place.to(device), mask[:, None], positions)


@dataclass(frozen=True)
class Cut:
    """State of `rows` texts at the edited layer.

    keys: input of W, (rows, length, d_mlp). base: everything the block adds up to except W's product, so that the block's
    output is `base + keys @ W.T`, (rows, length, d_model). lengths: (rows,).
    """

    layer: int
    keys: Tensor
    base: Tensor
    lengths: Tensor

    def __getitem__(self, rows) -> "Cut":
        lengths = self.lengths[rows]
        longest = int(lengths.max())
        return Cut(self.layer, self.keys[rows, :longest], self.base[rows, :longest], lengths)


def split_at(model: Model, layer: int, tokens: Padded) -> Cut:
    """Run blocks 0..layer on right-padded tokens and stop at the input of W."""
    ids, lengths = tokens.ids.to(model.device), tokens.lengths.to(model.device)
    seen = {}
    norm = model.block(layer).get_submodule(model.family.mlp_norm)
    with (
        norm.register_forward_pre_hook(lambda _, args: seen.update(base=args[0])),
        model.matrix(layer).register_forward_pre_hook(lambda _, args: seen.update(keys=args[0])),
        torch.inference_mode(),
    ):
        positions = torch.arange(ids.shape[1], device=ids.device)[None]
        run_blocks(model, embed(model, ids), range(layer + 1), causal_mask(lengths, ids.shape[1]), positions)
        if model.bias(layer) is not None:
            seen["base"] = seen["base"] + model.bias(layer)
    # copies made outside inference mode, so that mask training may differentiate through what is computed from them
    return Cut(layer, seen["keys"].clone(), seen["base"].clone(), lengths)


def finish(model: Model, cut: Cut, product: Tensor) -> Tensor:
    """Residual stream behind the last block, (rows, length, d_model), given W's product with the cut's keys.

    What stands behind a row's length is not to be read.
    """
    packed = pack(cut.lengths.tolist(), product.shape[1], product.device)
    return _behind(model, cut, product, packed)[packed.place]


def finish_at(model: Model, cut: Cut, product: Tensor, texts: Tensor, positions: Tensor) -> Tensor:
    """`finish` at some tokens, (tokens, d_model), given by text and position: the last block's MLP runs on these alone."""
    packed = pack(cut.lengths.tolist(), product.shape[1], product.device)
    places = packed.place[texts, positions]
    with _only_at(model.block(model.layers - 1).get_submodule(model.family.mlp), places):
        return _behind(model, cut, product, packed)[places]


def _behind(model: Model, cut: Cut, product: Tensor, packed: Packed) -> Tensor:
    """Residual stream behind the last block of all packed tokens, (tokens, d_model)."""
    stream = (cut.base + product).flatten(0, 1)[packed.source]
    return run_blocks(model, stream, range(cut.layer + 1, model.layers), packed.mask, packed.positions).flatten(0, 1)


@contextlib.contextmanager
def _only_at(mlp: torch.nn.Module, places: Tensor) -> Generator[None, None, None]:
    """Within the block an MLP computes its output at some places of its input (rows, length, d_model); elsewhere it is 0."""
    shape = []

    def gather(_, args: tuple[Tensor]) -> Tensor:
        shape[:] = args[0].shape
        return args[0].flatten(0, 1)[places]

    def scatter(_, args: tuple[Tensor], out: Tensor) -> Tensor:
        return out.new_zeros(shape).flatten(0, 1).index_copy(0, places, out).view(shape)

    places = places.unique()  # a token that is read twice gets its gradient once
    with mlp.register_forward_pre_hook(gather), mlp.register_forward_hook(scatter):
        yield


def ends(lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Text and position of the last token of texts of some lengths, (texts,) each."""
    return torch.arange(len(lengths), device=lengths.device), lengths - 1


def last(hidden: Tensor, lengths: Tensor) -> Tensor:
    """The entries of (rows, length, d) at each row's last token, (rows, d)."""
    return hidden[ends(lengths)]
