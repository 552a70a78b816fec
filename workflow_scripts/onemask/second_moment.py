"""Uncentred second moment of the edited matrix's input over a corpus: C = E[k k^T] (ROME's and MEMIT's covariance)."""

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from onemask.errors import OnemaskError
from onemask.forward import split_at
from onemask.models import Model
from onemask.tensor_files import read_checkpoint, read_tensors, write_checkpoint, write_tensors
from onemask.tokens import Padded

CHECKPOINT_EVERY = 50  # batches between two checkpoints


@dataclass(frozen=True)
class SecondMoment:
    """C (d_mlp, d_mlp), float32, of one layer of one model, from `samples` tokens."""

    layer: int
    matrix: Tensor
    samples: int

    @functools.cached_property
    def cholesky(self) -> Tensor:
        """Lower Cholesky factor of C in float64; OnemaskError when C is singular."""
        factor, info = torch.linalg.cholesky_ex(self.matrix.double())
        if int(info) != 0:
            raise OnemaskError(
                f"a positive definite second moment of layer {self.layer}",
                f"a singular one (from {self.samples:,} tokens)",
                "Measure it on more text (statistics.tokens).",
            )
        return factor

    def solve(self, columns: Tensor) -> Tensor:
        """C^-1 columns, float64; columns: (d_mlp, n), float64."""
        return torch.cholesky_solve(columns, self.cholesky.to(columns.device))


def measure(
    model: Model,
    layer: int,
    windows: Tensor,
    batch_tokens: int,
    progress: Callable[[int], None] = lambda done: None,
    checkpoint: Path | None = None,
    fingerprint: str = "",
) -> SecondMoment:
    """Mean of k k^T over all tokens of `windows` (windows, length); products in float32, summed in float64.

    Memory is bounded by `batch_tokens` (tokens run at once), whatever the model's context. With `checkpoint`, the sum is kept
    there now and then and taken up again by a run with the same `fingerprint`. progress: told the windows done.

    Raises OnemaskError when the windows are longer than the model's context.
    """
    if windows.shape[1] > model.context:
        raise OnemaskError(f"windows of at most {model.context} tokens", f"{windows.shape[1]}", "Lower statistics.window.")
    total, start = torch.zeros(model.d_mlp, model.d_mlp, dtype=torch.float64, device=model.device), 0
    kept = read_checkpoint(checkpoint, fingerprint) if checkpoint else None
    if kept:
        total, start = kept["total"].to(model.device), kept["windows"]
    size = max(1, batch_tokens // windows.shape[1])
    for number, at in enumerate(range(start, len(windows), size)):
        ids = windows[at : at + size]
        keys = split_at(model, layer, Padded(ids, torch.full((len(ids),), ids.shape[1]))).keys.flatten(0, 1).float()
        total += (keys.T @ keys).double()
        progress(at + len(ids))
        if checkpoint and number % CHECKPOINT_EVERY == CHECKPOINT_EVERY - 1:
            write_checkpoint(checkpoint, {"total": total.cpu(), "windows": at + len(ids)}, fingerprint)
    return SecondMoment(layer, (total / windows.numel()).float().cpu(), windows.numel())


def write_second_moment(path: str | Path, moment: SecondMoment, provenance: dict) -> None:
    """Write C as safetensors; layer, sample count and the model's identity are in its metadata."""
    metadata = {**provenance, "samples": moment.samples, "layer": moment.layer}
    write_tensors(path, {"second_moment": moment.matrix}, metadata)


def read_second_moments(paths: Iterable[str | Path], model: Model, layers: Iterable[int]) -> dict[int, SecondMoment]:
    """`read_second_moment` of several layers, one file each, by layer."""
    return {layer: read_second_moment(path, model, layer) for layer, path in zip(layers, paths, strict=True)}


def read_second_moment(path: str | Path, model: Model, layer: int) -> SecondMoment:
    """Read what `write_second_moment` wrote and check that it can serve this layer of this model.

    Raises OnemaskError when the file is missing or damaged, of another layer, model or dimension, not finite, or of fewer
    samples than its dimension.
    """
    tensors, metadata = read_tensors(path, "a second moment", "second_moment")
    matrix = tensors["second_moment"]
    moment = SecondMoment(metadata["layer"], matrix, metadata["samples"])
    weights = metadata.get("model", {}).get("sha256")
    checks = [
        (f"the second moment of layer {layer}", f"that of layer {moment.layer}", moment.layer == layer),
        (
            f"a {model.d_mlp} x {model.d_mlp} second moment",
            " x ".join(map(str, matrix.shape)),
            matrix.shape == (model.d_mlp,) * 2,
        ),
        ("the second moment of this model", "that of other weights", weights == model.info.get("sha256")),
        (f"at least {model.d_mlp:,} samples (its dimension)", f"{moment.samples:,}", moment.samples >= model.d_mlp),
        ("a finite second moment", "NaN or infinity", bool(torch.isfinite(matrix).all())),
    ]
    for expected, found, holds in checks:
        if not holds:
            advice = "Delete the file, and measure it for this model and layer, on enough text."
            raise OnemaskError(expected, f"{found} in {path}", advice)
    return moment
