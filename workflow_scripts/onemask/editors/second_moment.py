"""Uncentred second moment of the edited matrix's input over a corpus: C = E[k k^T] (ROME's and MEMIT's covariance)."""

import contextlib
import functools
import hashlib
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from onemask.io.batching import nothing
from onemask.io.errors import OnemaskError
from onemask.io.tensor_files import NO_CHECKPOINT, Checkpoint, read_tensors, write_tensors
from onemask.model.forward import at_least_float32, run_to
from onemask.model.models import Model
from onemask.model.tokens import Padded

CHECKPOINT_EVERY = 300  # seconds between two checkpoints, which hold gigabytes of a large model
# real text leaves none or few small eigenvalues (3% of 512 from 1,024 tokens), a sentence repeated a quarter of them
SMALL, MOST_SMALL = 1e-6, 0.1
STRIPS = 8  # of C; what lies above the diagonal's blocks is mirrored, not computed


@dataclass(frozen=True)
class SecondMoment:
    """C, float32, of one layer of one model, from `samples` tokens. text: which ones, as `text_digest` says."""

    layer: int
    matrix: Float[Tensor, "d_mlp d_mlp"]
    samples: int
    text: str = ""

    @functools.cached_property
    def cholesky(self) -> Float[Tensor, "d_mlp d_mlp"]:
        """Lower Cholesky factor of C in float64; OnemaskError when C is singular."""
        factor, info = torch.linalg.cholesky_ex(self.matrix.double())
        if int(info) != 0:
            raise OnemaskError(
                f"a positive definite second moment of layer {self.layer}",
                f"a singular one (from {self.samples:,} tokens)",
                "Measure it on more text (statistics.tokens).",
            )
        return factor

    def solve(self, columns: Float[Tensor, "d_mlp n"]) -> Float[Tensor, "d_mlp n"]:
        """C^-1 columns, float64."""
        return torch.cholesky_solve(columns, self.cholesky.to(columns.device))


def text_digest(windows: Int[Tensor, "windows length"]) -> str:
    """SHA-256 of token ids: two second moments of one model with the same digest are of the same text."""
    return hashlib.sha256(windows.contiguous().numpy()).hexdigest()


def judge(moment: SecondMoment) -> None:
    """Raise OnemaskError where a text was too uniform: it leaves directions in which keys are not to be preserved, but are.

    Takes all eigenvalues, in float64.
    """
    _refuse_silent(moment)
    values = torch.linalg.eigvalsh(moment.matrix.double())
    small = int((values < SMALL * values[-1]).sum())
    if small > MOST_SMALL * len(values):
        expected = f"a second moment of layer {moment.layer} of full rank"
        found = f"{small} of {len(values)} eigenvalues below {SMALL:g} of the largest (from {moment.samples:,} tokens)"
        raise OnemaskError(expected, found, "Measure it on more, and more varied, text.")


def _refuse_silent(moment: SecondMoment) -> None:
    """Raise OnemaskError where neurons were never active: no text makes their directions known."""
    silent = (moment.matrix.diagonal() == 0).nonzero()[:, 0].tolist()
    if silent:
        found = f"{len(silent)} never active: {', '.join(map(str, silent[:10]))}"
        advice = "More text does not help; take another layer, or rome without mom2_adjustment."
        raise OnemaskError(f"{len(moment.matrix)} active neurons in layer {moment.layer}", found, advice)


def measure(
    model: Model,
    layers: list[int],
    windows: Int[Tensor, "windows length"],
    batch_tokens: int,
    checkpoint: Checkpoint = NO_CHECKPOINT,
    callback: Callable[[int], None] = nothing,
) -> dict[int, SecondMoment]:
    """Mean of k k^T over all tokens of `windows`, by layer; products in float32 at least, summed in float64.

    One pass of the text serves all `layers`. Memory is bounded by `batch_tokens` (tokens run at once), whatever the model's
    context. checkpoint: keeps the sums now and then. callback: told the number of windows done.

    Raises OnemaskError when the windows are longer than the model's context.
    """
    if windows.shape[1] > model.n_ctx:
        raise OnemaskError(f"windows of at most {model.n_ctx} tokens", f"{windows.shape[1]}", "Lower statistics.window.")
    kept = checkpoint.read()
    start = kept["windows"] if kept else 0
    totals = {at: _total(model, at, kept) for at in layers}
    del kept  # gigabytes of a large model
    size = max(1, batch_tokens // windows.shape[1])
    saved = time.monotonic()
    with _added_to(totals, model):
        for at in range(start, len(windows), size):
            ids = windows[at : at + size]
            run_to(model, max(layers), Padded(ids, torch.full((len(ids),), ids.shape[1])))
            callback(at + len(ids))
            if checkpoint.path and time.monotonic() - saved >= CHECKPOINT_EVERY:
                content = {"totals": {layer: total.cpu() for layer, total in totals.items()}, "windows": at + len(ids)}
                checkpoint.write(content)
                saved = time.monotonic()
    count, text = windows.numel(), text_digest(windows)
    return {at: SecondMoment(at, (_mirrored(total.cpu()) / count).float(), count, text) for at, total in totals.items()}


def _total(model: Model, layer: int, kept: dict | None) -> Float[Tensor, "d_mlp d_mlp"]:
    """The sum so far of a layer, on the model's device, moved there out of what a checkpoint kept."""
    if kept is None:
        return torch.zeros(model.d_mlp, model.d_mlp, dtype=torch.float64, device=model.device)
    return kept["totals"].pop(layer).to(model.device)


@contextlib.contextmanager
def _added_to(totals: dict[int, Tensor], model: Model) -> Generator[None, None, None]:
    """Within the block every forward pass adds K^T K of its keys K to the total of each layer, on and below the diagonal."""

    def add(layer: int, keys: Tensor) -> None:
        exact = keys.dtype in (torch.bfloat16, torch.float16)  # TF32 has every bit of such keys
        keys, total = at_least_float32(keys.flatten(0, 1)), totals[layer]
        with _tf32() if exact else contextlib.nullcontext():
            for start in range(0, model.d_mlp, width):
                total[start:, start : start + width] += (keys[:, start:].T @ keys[:, start : start + width]).double()

    width = -(-model.d_mlp // STRIPS)
    with contextlib.ExitStack() as hooks:
        for layer in totals:
            hook = model.matrix(layer).register_forward_pre_hook(lambda _, args, layer=layer: add(layer, args[0]))
            hooks.enter_context(hook)
        yield


@contextlib.contextmanager
def _tf32() -> Generator[None, None, None]:
    """Within the block a GPU multiplies float32 matrices in TF32."""
    products, before = torch.backends.cuda.matmul, torch.backends.cuda.matmul.fp32_precision
    products.fp32_precision = "tf32"
    try:
        yield
    finally:
        products.fp32_precision = before


def _mirrored(total: Float[Tensor, "d d"]) -> Float[Tensor, "d d"]:
    """The symmetric matrix that has `total`'s entries on and below the diagonal."""
    return total.tril() + total.tril(-1).T


def write_second_moments(path: str | Path, moments: dict[int, SecondMoment], provenance: dict) -> None:
    """Write C of each layer as safetensors; number and digest of the tokens and the model's identity are in the metadata.

    Raises OnemaskError, and leaves no file, where one is not fit to be used (`judge`).
    """
    ((samples, text),) = {(moment.samples, moment.text) for moment in moments.values()}
    for moment in moments.values():
        judge(moment)
    matrices = {_name(at): moment.matrix for at, moment in moments.items()}
    write_tensors(path, matrices, {**provenance, "samples": samples, "text": text})


def _name(layer: int) -> str:
    return f"layer{layer}"


def read_second_moments(paths: Iterable[str | Path], model: Model, layers: list[int]) -> dict[int, SecondMoment]:
    """Read what `write_second_moments` wrote, one file or none where there are no layers, and check that it can serve.

    Raises OnemaskError when the file is missing or damaged, of other layers, another model or dimension, not finite, or of fewer
    samples than its dimension.
    """
    moments = {}
    for path in paths:
        tensors, metadata = read_tensors(path, "second moments", *map(_name, layers))
        for layer in layers:
            moments[layer] = SecondMoment(layer, tensors[_name(layer)], metadata["samples"], metadata.get("text", ""))
            _require(moments[layer], metadata, model, path)
    return moments


def _require(moment: SecondMoment, metadata: dict, model: Model, path: str | Path) -> None:
    """Raise OnemaskError where a second moment cannot serve a model."""
    matrix, weights = moment.matrix, metadata.get("model", {}).get("sha256")
    checks = [
        (
            f"a {model.d_mlp} x {model.d_mlp} second moment of layer {moment.layer}",
            " x ".join(map(str, matrix.shape)),
            matrix.shape == (model.d_mlp,) * 2,
        ),
        ("second moments of this model", "those of other weights", weights == model.info.get("sha256")),
        (f"at least {model.d_mlp:,} samples (its dimension)", f"{moment.samples:,}", moment.samples >= model.d_mlp),
        (f"a finite second moment of layer {moment.layer}", "NaN or infinity", bool(torch.isfinite(matrix).all())),
    ]
    for expected, found, holds in checks:
        if not holds:
            advice = "Delete the file, and measure it for this model, on enough text."
            raise OnemaskError(expected, f"{found} in {path}", advice)
    _refuse_silent(moment)
