"""The edited layer's input of many texts, kept without padding in memory or, beyond a limit, in a file mapped into memory."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from onemask.io.errors import OnemaskError
from onemask.model.forward import LayerInput, run_to
from onemask.model.models import Model, require_context
from onemask.model.tokens import batches, pad

BATCH_TOKENS = 8192


@dataclass(frozen=True)
class LayerInputCache:
    """keys, base: as in LayerInput, of all texts' tokens. starts, lengths: each text's tokens, on the CPU."""

    layer: int
    device: torch.device
    keys: Float[Tensor, "tokens d_mlp"]
    base: Float[Tensor, "tokens d_model"]
    starts: Int[Tensor, " texts"]
    lengths: Int[Tensor, " texts"]

    def __getitem__(self, rows: Int[Tensor, " rows"]) -> LayerInput:
        """The input of some texts, padded to the longest of them by its own last token, which nothing reads."""
        lengths = self.lengths[rows]
        within = torch.arange(int(lengths.max())).minimum(lengths[:, None] - 1)
        at = (self.starts[rows][:, None] + within).to(self.keys.device)
        return LayerInput(self.layer, self.keys[at].to(self.device), self.base[at].to(self.device), lengths.to(self.device))


def _room(count: int, dtype: torch.dtype, file: Path | None, device: torch.device) -> Float[Tensor, " count"]:
    """`count` elements in memory, or in a file that vanishes with the process, whatever ends it."""
    if file is None:
        return torch.empty(count, dtype=dtype, device=device)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(file, "wb") as opened:
            # reserved beforehand: a full disk would otherwise kill the process at a write into the map
            os.posix_fallocate(opened.fileno(), 0, count * dtype.itemsize)
        return torch.from_file(str(file), shared=True, size=count, dtype=dtype)
    except OSError as error:
        needed = f"{count * dtype.itemsize / 1e6:,.0f} MB for {file}"
        raise OnemaskError(needed, error.strerror or str(error), "Free the space, or raise the mask's cache_mb.") from error
    finally:
        file.unlink(missing_ok=True)


def cache_layer_inputs(
    model: Model, layer: int, texts: list[list[int]], cache_mb: int = 0, file: Path | None = None
) -> LayerInputCache:
    """Run token ids up to the edited layer, in batches of similar length.

    file: where what is larger than `cache_mb` goes (without one, everything is held in memory); the log says how much. Raises
    OnemaskError where a text exceeds the model's context, or the disk has no room.
    """
    lengths = [len(text) for text in texts]
    require_context(model, max(lengths))
    starts = torch.tensor([0, *lengths]).cumsum(0)[:-1]
    dtype, tokens = model.weight(layer).dtype, sum(lengths)
    size = tokens * (model.d_mlp + model.d_model) * dtype.itemsize / 1e6
    file = file if size > cache_mb else None
    logging.info("the input of layer %d for %d texts: %.0f MB %s", layer, len(texts), size, "on disk" if file else "in memory")
    keys, base = (
        _room(tokens * width, dtype, file.with_name(f"{file.name}.{name}") if file else None, model.device).view(tokens, width)
        for name, width in (("keys", model.d_mlp), ("base", model.d_model))
    )
    for group in batches(lengths, BATCH_TOKENS):
        part = run_to(model, layer, pad([texts[i] for i in group]))
        for row, i in enumerate(group):
            place = slice(int(starts[i]), int(starts[i]) + lengths[i])
            keys[place], base[place] = part.keys[row, : lengths[i]], part.base[row, : lengths[i]]
    return LayerInputCache(layer, model.device, keys, base, starts, torch.tensor(lengths))
