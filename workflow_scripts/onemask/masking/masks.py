"""The shared mask as data: which weights of the edited matrix are kept, and the controls it must beat."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from onemask.io.errors import REMAKE, OnemaskError
from onemask.io.tensor_files import read_tensors, write_tensors
from onemask.model.edits import LayerEdits
from onemask.model.models import Model


@dataclass(frozen=True)
class Mask:
    """keep: true where the weight stays. theta: the trained parameters."""

    layer: int
    keep: Bool[Tensor, "d_model d_mlp"]
    theta: Float[Tensor, "d_model d_mlp"]
    provenance: dict = field(default_factory=dict)

    @property
    def pruned(self) -> float:
        """Share of the matrix that is removed."""
        return pruned_share(self.keep)


def pruned_share(keep: Shaped[Tensor, "d_model d_mlp"]) -> float:
    """Share of false (or zero) entries of a hard mask."""
    return 1 - float(keep.double().mean())


def random_mask(keep: Bool[Tensor, "d_model d_mlp"], seed: int) -> Bool[Tensor, "d_model d_mlp"]:
    """A mask that removes exactly as many weights, drawn uniformly."""
    order = torch.from_numpy(np.random.default_rng(seed).permutation(keep.numel()))
    removed = int((~keep).sum())
    flat = torch.ones(keep.numel(), dtype=torch.bool)
    flat[order[:removed]] = False
    return flat.view_as(keep)


def random_mask_by_output(keep: Bool[Tensor, "d_model d_mlp"], seed: int) -> Bool[Tensor, "d_model d_mlp"]:
    """A mask that removes as many weights of each output dimension (row) as `keep` does, drawn uniformly within the row."""
    order = np.random.default_rng(seed).random(keep.shape).argsort(1).argsort(1)
    return torch.from_numpy(order) >= (~keep).sum(1, keepdim=True)


def write_mask(path: str | Path, mask: Mask, provenance: dict) -> None:
    """Write a mask as safetensors, with its layer and provenance as metadata."""
    write_tensors(path, {"keep": mask.keep.to(torch.uint8), "theta": mask.theta}, {**provenance, "layer": mask.layer})


def read_mask(path: str | Path, model: Model | None = None, edits: LayerEdits | None = None) -> Mask:
    """Read a mask; OnemaskError when the file is damaged, or the mask was trained on another model or layer than these."""
    tensors, provenance = read_tensors(path, "a whole mask file", "keep", "theta")
    keep, theta, layer = tensors["keep"].bool(), tensors["theta"], provenance["layer"]
    if theta.shape != keep.shape:
        raise OnemaskError(f"theta of shape {tuple(keep.shape)} in {path}", str(tuple(theta.shape)), REMAKE)
    if edits is not None:
        shape = edits.shape
    else:
        shape = keep.shape if model is None else (model.d_model, model.d_mlp)
    if keep.shape != shape:
        raise OnemaskError(f"a mask of shape {shape}", str(tuple(keep.shape)), "Use the model that it was trained for.")
    trained = provenance.get("model", {}).get("sha256")
    if model is not None and trained and trained != model.info.get("sha256", trained):
        raise OnemaskError(f"the model that {path} was trained on", "other weights", "Use that model, or train the mask again.")
    if edits is not None and layer != edits.layer:
        raise OnemaskError(f"edits of layer {layer}, which {path} masks", f"layer {edits.layer}", "Train a mask for that layer.")
    return Mask(layer, keep, theta, provenance)


def structure(mask: Mask) -> pd.DataFrame:
    """The `mask_structure` table: of each output dimension (row of W) its pruned share and its row of the mask."""
    shares = 1 - mask.keep.double().mean(1)
    return pd.DataFrame({"dimension": range(len(shares)), "pruned": shares.numpy(), "keep": list(mask.keep.numpy())})
