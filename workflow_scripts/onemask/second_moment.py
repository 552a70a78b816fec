"""Uncentred second moment of the edited matrix's input over a corpus: C = E[k k^T] (ROME's and MEMIT's covariance)."""

from collections.abc import Callable

import torch
from torch import Tensor

from onemask.forward import split_at
from onemask.models import Model
from onemask.tokens import Padded


def second_moment(
    model: Model, layer: int, windows: Tensor, batch: int, progress: Callable[[int], None] = lambda done: None
) -> Tensor:
    """C (d_mlp, d_mlp), float32, mean of k k^T over all tokens of `windows` (windows, length); summed in float64."""
    total = torch.zeros(model.d_mlp, model.d_mlp, dtype=torch.float64, device=model.device)
    for start in range(0, len(windows), batch):
        ids = windows[start : start + batch]
        keys = split_at(model, layer, Padded(ids, torch.full((len(ids),), ids.shape[1]))).keys.flatten(0, 1).float()
        total += (keys.T @ keys).double()
        progress(start + len(ids))
    return (total / windows.numel()).float().cpu()
