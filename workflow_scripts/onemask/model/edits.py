"""Low-rank edits as data, and the layer they change.

W_hat = W + sum_j r_j u_j^T. Under an elementwise mask K the edited layer computes
((W + r u^T) * K) k = (W * K) k + r * (K (u * k)), so one batch may hold another edit in every row (method.md section 4). Facts
edited jointly make one update for every row.
"""

import contextlib
from collections.abc import Generator, Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from onemask.io.errors import OnemaskError
from onemask.model.models import Model


@dataclass(frozen=True)
class FactoredEdits:
    """The edits of some facts in one layer, float32; the rank is 1 but for fine-tuning.

    What they mean jointly is the editor's affair: ROME's are as many edits of the model, each on its own; MEMIT's are the
    summands of one.
    """

    layer: int
    u: Float[Tensor, "facts rank d_mlp"]
    r: Float[Tensor, "facts rank d_model"]

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

    def dense(self, row: int) -> Float[Tensor, "d_model d_mlp"]:
        """The update of one fact."""
        return self.r[row].T @ self.u[row]

    def sum(self) -> Float[Tensor, "d_model d_mlp"]:
        """The joint update of all facts."""
        return self.r.flatten(0, 1).T @ self.u.flatten(0, 1)

    def norms(self, keep: Shaped[Tensor, "d_model d_mlp"] | None = None) -> Float[Tensor, " facts"]:
        """Frobenius norm of each fact's update, or of what a hard mask leaves of it."""
        dense = (self.dense(row) for row in range(len(self)))
        return torch.stack([(part if keep is None else part * keep.to(part)).norm() for part in dense])

    def scaled(self, factors: Float[Tensor, " facts"]) -> "FactoredEdits":
        """Each fact's update times its factor."""
        return FactoredEdits(self.layer, self.u, self.r * factors[:, None, None])

    def product(
        self, keys: Float[Tensor, "rows length d_mlp"], keep: Shaped[Tensor, "d_model d_mlp"] | None
    ) -> Float[Tensor, "rows length d_model"]:
        """What the updates, one a row and masked by `keep`, make of keys."""
        keys = keys.to(self.u.dtype)
        if keep is None:
            return (keys @ self.u.mT) @ self.r
        if self.u.shape[1] == 1:
            return self.r * ((self.u * keys) @ keep.to(keys).T)
        # of higher rank: the masked matrices themselves cost less than a product for each component
        return keys @ ((self.r.mT @ self.u) * keep.to(keys)).mT


@dataclass(frozen=True)
class JointEdit:
    """One update for every row, as of facts edited jointly."""

    layer: int
    matrix: Float[Tensor, "d_model d_mlp"]

    def __getitem__(self, rows) -> "JointEdit":
        return self

    def norms(self, keep: Shaped[Tensor, "d_model d_mlp"] | None = None) -> Float[Tensor, "1"]:
        """Frobenius norm of the update, or of what a hard mask leaves of it."""
        return (self.matrix if keep is None else self.matrix * keep.to(self.matrix)).norm()[None]

    def scaled(self, factors: Float[Tensor, "1"]) -> "JointEdit":
        """The update times a factor."""
        return JointEdit(self.layer, self.matrix * factors)

    def product(
        self, keys: Float[Tensor, "rows length d_mlp"], keep: Shaped[Tensor, "d_model d_mlp"] | None
    ) -> Float[Tensor, "rows length d_model"]:
        """What the update, masked by `keep`, makes of keys."""
        matrix = self.matrix.to(keys)
        return keys @ (matrix if keep is None else matrix * keep.to(keys)).T


Update = FactoredEdits | JointEdit


def product(
    keys: Float[Tensor, "rows length d_mlp"],
    weight: Float[Tensor, "d_model d_mlp"],
    update: Update | None = None,
    keep: Shaped[Tensor, "d_model d_mlp"] | None = None,
    restores: bool = False,
) -> Float[Tensor, "rows length d_model"]:
    """What the (edited, masked) matrix makes of its input.

    keep: mask K, of any real type, or None for all ones. restores: where K is 0 the weight is what it was before the edit, not
    zero.
    """
    out = keys @ (weight if keep is None or restores else weight * keep.to(weight)).T
    return out if update is None else out + update.product(keys, keep).to(out.dtype)


@contextlib.contextmanager
def edited_layer(
    model: Model, layer: int, update: Update | None = None, keep: Shaped[Tensor, "d_model d_mlp"] | None = None
) -> Generator[None, None, None]:
    """Within the block, `layer` of the model computes with `update` (row i of a batch under edit i) and mask `keep`."""

    def replace(module, args, output):
        changed, bias = product(args[0], model.weight(layer), update, keep), model.bias(layer)
        return changed if bias is None else changed + bias

    with model.matrix(layer).register_forward_hook(replace):
        yield


@contextlib.contextmanager
def weights_restored(model: Model, layers: Iterable[int]) -> Generator[None, None, None]:
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
def applied(model: Model, edits: Iterable[FactoredEdits]) -> Generator[None, None, None]:
    """Within the block the model is edited by the sum of all edits; afterwards its weights are what they were."""
    edits = list(edits)
    with weights_restored(model, {part.layer for part in edits}):
        write_edits(model, edits)
        yield


@contextlib.contextmanager
def masked_weight(model: Model, layer: int, keep: Shaped[Tensor, "d_model d_mlp"]) -> Generator[None, None, None]:
    """Within the block the layer's W is W * K, whatever reads it; afterwards W is what it was."""
    with weights_restored(model, [layer]):
        with torch.no_grad():
            weight = model.weight(layer)
            weight.mul_(keep.to(weight))
        yield


@dataclass(frozen=True)
class LayerEdits:
    """Edits as a mask meets them: `update` stands in the one layer that the mask covers, `others` in the weights of other layers.

    update: FactoredEdits where each fact is an edit of its own (the mask covers its only layer), JointEdit where all facts are
    one edit (the mask covers the last edited layer, and the others keep their part of it).
    """

    update: Update
    others: tuple[FactoredEdits, ...] = ()

    @property
    def layer(self) -> int:
        return self.update.layer

    @property
    def single(self) -> FactoredEdits:
        """`update` of facts that are each edited on their own; OnemaskError where all are one edit."""
        if isinstance(self.update, JointEdit):
            raise OnemaskError("edits that are each on their own", "one edit of all facts", "Take another method.")
        return self.update

    @property
    def device(self) -> torch.device:
        return (self.update.matrix if isinstance(self.update, JointEdit) else self.update.u).device

    @property
    def shape(self) -> tuple[int, int]:
        """(d_model, d_mlp) of the edited matrix."""
        update = self.update
        rows, columns = update.matrix.shape if isinstance(update, JointEdit) else (update.r.shape[2], update.u.shape[2])
        return rows, columns

    def __getitem__(self, rows) -> "LayerEdits":
        return LayerEdits(self.update[rows], self.others)

    def others_applied(self, model: Model) -> contextlib.AbstractContextManager[None]:
        """Within the block the other layers are edited; afterwards their weights are what they were."""
        return applied(model, self.others)
