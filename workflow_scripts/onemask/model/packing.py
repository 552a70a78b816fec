"""Texts packed side by side in rows, so that no time goes into padding."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

PACKED_TOKENS = 128  # a packed row: attention between its texts, which is masked, costs little beside the blocks' matrices


@dataclass(frozen=True)
class Packed:
    """Texts side by side in rows, each seeing only itself.

    source: index into the padded texts' tokens. place: index into the packed tokens. mask: true where a query may look.
    positions: within each text.
    """

    source: Int[Tensor, "packed_rows width"]
    place: Int[Tensor, "texts length"]
    mask: Bool[Tensor, "packed_rows 1 width width"]
    positions: Int[Tensor, "packed_rows width"]


def pack(lengths: list[int], length: int, device: torch.device) -> Packed:
    """Pack texts that are padded to `length`, longest first, each into the first row with room for it."""
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
