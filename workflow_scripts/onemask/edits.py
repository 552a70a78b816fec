"""Rank-one edits as data, and the layer they change.

W_hat = W + r u^T. Under an elementwise mask K the edited layer computes
((W + r u^T) * K) k = (W * K) k + r * (K (u * k)), so one batch may hold another edit in every row (method.md section 4).
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from onemask.errors import OnemaskError
from onemask.models import Model


@dataclass(frozen=True)
class FactoredEdits:
    """N independent rank-one edits of one layer: u (N, d_mlp), r (N, d_model), float32."""

    layer: int
    u: Tensor
    r: Tensor

    def __len__(self) -> int:
        return len(self.u)

    def __getitem__(self, rows) -> "FactoredEdits":
        return FactoredEdits(self.layer, self.u[rows], self.r[rows])

    def repeat(self, times: int) -> "FactoredEdits":
        """Each edit `times` times in a row, for batches with several texts an edit."""
        return FactoredEdits(self.layer, self.u.repeat_interleave(times, 0), self.r.repeat_interleave(times, 0))

    def dense(self, row: int) -> Tensor:
        """r u^T of one edit, (d_model, d_mlp)."""
        return torch.outer(self.r[row], self.u[row])


def stack_edits(table: pd.DataFrame, model: Model | None = None) -> FactoredEdits:
    """The edits of an `edits` table as tensors.

    Raises OnemaskError when they are of several layers, not finite, or of other dimensions than the model's matrix.
    """
    layers = table["layer"].unique()
    if len(layers) != 1:
        raise OnemaskError("edits of one layer", f"layers {sorted(layers.tolist())}", "Make the edits again with one config.")
    u = torch.from_numpy(np.stack(table["u"].to_list()))
    r = torch.from_numpy(np.stack(table["r"].to_list()))
    if not (torch.isfinite(u).all() and torch.isfinite(r).all()):
        raise OnemaskError("finite edits", "NaN or infinity", "Make the edits again.")
    if model is not None and (r.shape[1], u.shape[1]) != (model.d_model, model.d_mlp):
        raise OnemaskError(
            f"edits of a {model.d_model} x {model.d_mlp} matrix",
            f"{r.shape[1]} x {u.shape[1]}",
            "Use the model that the edits were made for.",
        )
    return FactoredEdits(int(layers[0]), u, r)


def product(keys: Tensor, weight: Tensor, edits: FactoredEdits | None = None, keep: Tensor | None = None) -> Tensor:
    """What the (edited, masked) matrix makes of its input: (rows, length, d_model).

    keys: (rows, length, d_mlp). weight: (d_model, d_mlp). edits: one a row, or None. keep: mask K, (d_model, d_mlp), of
    any real type, or None for all ones.
    """
    keep = None if keep is None else keep.to(weight.dtype)
    out = keys @ (weight if keep is None else weight * keep).T
    if edits is None:
        return out
    coupled = edits.u[:, None, :] * keys
    if keep is None:
        return out + edits.r[:, None, :] * coupled.sum(-1, keepdim=True)
    return out + edits.r[:, None, :] * (coupled @ keep.T)


@contextlib.contextmanager
def edited_layer(model: Model, layer: int, edits: FactoredEdits | None = None, keep: Tensor | None = None) -> Iterator[None]:
    """Within the block, `layer` of the model computes with `edits` (row i of a batch under edit i) and mask `keep`."""

    def replace(module, args, output):
        changed = product(args[0], model.weight(layer), edits, keep)
        return changed if model.bias(layer) is None else changed + model.bias(layer)

    hook = model.matrix(layer).register_forward_hook(replace)
    try:
        yield
    finally:
        hook.remove()
