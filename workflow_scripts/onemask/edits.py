"""Low-rank edits as data, and the layer they change.

W_hat = W + sum_j r_j u_j^T. Under an elementwise mask K the edited layer computes
((W + r u^T) * K) k = (W * K) k + r * (K (u * k)), so one batch may hold another edit in every row (method.md section 4).
"""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from onemask.models import Model


@dataclass(frozen=True)
class FactoredEdits:
    """The edits of N facts in one layer: u (N, rank, d_mlp), r (N, rank, d_model), float32; the rank is 1 but for fine-tuning.

    What the facts' edits mean together is the editor's affair: ROME's are N edits of the model, each on its own; MEMIT's are
    the summands of one.
    """

    layer: int
    u: Tensor
    r: Tensor

    def __len__(self) -> int:
        return len(self.u)

    def __getitem__(self, rows) -> "FactoredEdits":
        return FactoredEdits(self.layer, self.u[rows], self.r[rows])

    def __add__(self, other: "FactoredEdits") -> "FactoredEdits":
        """Both sets of facts; their `sum` is the sum of both."""
        if (self.layer, self.u.shape[1:]) != (other.layer, other.u.shape[1:]):
            raise ValueError(f"edits of layers {self.layer} and {other.layer}, {self.u.shape[1:]} and {other.u.shape[1:]}")
        return FactoredEdits(self.layer, torch.cat([self.u, other.u]), torch.cat([self.r, other.r]))

    def without(self, row: int) -> "FactoredEdits":
        """All but one fact's."""
        return self[torch.arange(len(self)) != row]

    def to(self, device: torch.device) -> "FactoredEdits":
        return FactoredEdits(self.layer, self.u.to(device), self.r.to(device))

    def dense(self, row: int) -> Tensor:
        """The update of one fact, (d_model, d_mlp)."""
        return self.r[row].T @ self.u[row]

    def sum(self) -> Tensor:
        """The update of all facts together, (d_model, d_mlp)."""
        return self.r.flatten(0, 1).T @ self.u.flatten(0, 1)


def product(keys: Tensor, weight: Tensor, edits: FactoredEdits | None = None, keep: Tensor | None = None) -> Tensor:
    """What the (edited, masked) matrix makes of its input: (rows, length, d_model).

    keys: (rows, length, d_mlp). weight: (d_model, d_mlp). edits: one a row, or None. keep: mask K, (d_model, d_mlp), of
    any real type, or None for all ones.
    """
    out = keys @ (weight if keep is None else weight * keep.to(weight)).T
    if edits is None:
        return out
    if keep is None:
        return out + ((keys.to(edits.u.dtype) @ edits.u.mT) @ edits.r).to(out.dtype)
    coupled = edits.u[:, :, None, :] * keys[:, None]
    return out + (edits.r[:, :, None, :] * (coupled @ keep.to(coupled).T)).sum(1).to(out.dtype)


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


@contextlib.contextmanager
def weights_restored(model: Model, layers: Iterable[int]) -> Iterator[None]:
    """Whatever the block does to W of `layers`, afterwards each is what it was, bit for bit."""
    saved = {layer: model.weight(layer).clone() for layer in layers}
    try:
        yield
    finally:
        with torch.no_grad():
            for layer, weight in saved.items():
                model.weight(layer).copy_(weight)


@torch.no_grad()
def write_edits(model: Model, edits: Iterable[FactoredEdits]) -> None:
    """Add the sum of all edits to the weights, in place."""
    for part in edits:
        weight = model.weight(part.layer)
        weight.add_(part.sum().to(weight))


@contextlib.contextmanager
def applied(model: Model, edits: Iterable[FactoredEdits]) -> Iterator[None]:
    """Within the block the model is edited by the sum of all edits; afterwards its weights are what they were."""
    edits = list(edits)
    with weights_restored(model, {part.layer for part in edits}):
        write_edits(model, edits)
        yield


@contextlib.contextmanager
def masked_weight(model: Model, layer: int, keep: Tensor) -> Iterator[None]:
    """Within the block the layer's W is W * K, whatever reads it; afterwards W is what it was."""
    with weights_restored(model, [layer]):
        with torch.no_grad():
            weight = model.weight(layer)
            weight.mul_(keep.to(weight))
        yield
