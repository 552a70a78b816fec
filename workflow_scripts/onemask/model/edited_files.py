"""An edited checkpoint written file by file: the bytes of the edited W change and no others, and no network is loaded."""

import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from onemask.io.batching import nothing
from onemask.io.errors import OnemaskError
from onemask.io.safetensors_header import Stored
from onemask.model.checkpoints import INDEX, pieces, tensors, weight_files
from onemask.model.edits import FactoredEdits
from onemask.model.families import FAMILIES, Family
from onemask.model.folder_advice import OTHER_WEIGHTS

DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
ROWS_OF = 1 << 24  # numbers of W changed at once
OURS = "onemask.json"  # who the unedited model is
NEEDED = ("config.json", "tokenizer.json", "tokenizer_config.json", INDEX)
CODE = (".py", ".so", ".pkl", ".pickle", ".safetensors", ".tflite", ".mlmodel", ".npz")


def copied(folder: Path) -> tuple[list[Path], list[str]]:
    """Files beside the weights that go with an edited checkpoint, and the names of what does not.

    What holds the unedited weights, may run code, or is a link that leads out of the folder and of its hub cache stays behind;
    but links to what a model cannot do without, and the pipeline's own, are followed.
    """
    home, weights = folder.resolve(), set(weight_files(folder))
    inside = home, home.parent.parent / "blobs"  # where links of a snapshot in the hub's cache lead
    made_by_us = (folder / OURS).is_file()
    taken, left = [], []
    for path in sorted(set(folder.iterdir()) - weights - {folder / OURS}):
        near = made_by_us or path.name in NEEDED or any(path.resolve().is_relative_to(place) for place in inside)
        if path.is_file() and near and path.suffix not in (*OTHER_WEIGHTS, *CODE):
            taken.append(path)
        else:
            left.append(path.name)
    return taken, left


def stored_weight(folder: Path, family: Family, layer: int) -> tuple[Path, Stored]:
    """Where W of a layer lies, in a causal language model's checkpoint or its base model's, whose names lack a beginning.

    Raises OnemaskError where it is not there, or of a type that an update cannot be added to.
    """
    name = f"{family.blocks}.{layer}.{family.matrix}.weight"
    found = tensors(folder)
    for known in (name, name.partition(".")[2]):
        if known in found:
            path, tensor = found[known]
            if tensor.dtype not in DTYPES:
                advice = "Take the checkpoint as it was trained."
                raise OnemaskError(f"{known} of type {', '.join(DTYPES)}", f"{tensor.dtype} in {path}", advice)
            return path, tensor
    raise OnemaskError(f"{name} in {folder}", "no such tensor", "Correct the layer, or the model.")


def added(
    weight: Float[Tensor, "rows columns"], left: Float[Tensor, "n rows"], right: Float[Tensor, "n columns"]
) -> Float[Tensor, "rows columns"]:
    """W + left^T right, computed in float32 at least and rounded once to the type of W."""
    exact = torch.promote_types(weight.dtype, torch.float32)
    return (weight.to(exact) + left.to(exact).T @ right.to(exact)).to(weight.dtype)


def add_to_file(path: Path, tensor: Stored, edits: FactoredEdits, transposed: bool) -> None:
    """Add the sum of edits to W in a file, in place, some rows at a time.

    transposed: W is stored as (d_mlp, d_model). Raises OnemaskError where shapes differ, or a sum is not finite in W's type.
    """
    left, right = (edits.u, edits.r) if transposed else (edits.r, edits.u)
    left, right = left.flatten(0, 1), right.flatten(0, 1)
    rows, columns = left.shape[1], right.shape[1]
    if tensor.shape != (rows, columns):
        shape = " x ".join(map(str, reversed(tensor.shape) if transposed else tensor.shape))
        found = f"{edits.r.shape[2]} x {edits.u.shape[2]}"
        raise OnemaskError(f"edits of a {shape} matrix", found, "Use the model that the edits were made for.")
    dtype, step = DTYPES[tensor.dtype], max(1, ROWS_OF // columns)
    for first in range(0, rows, step):
        count = min(step, rows - first)
        start = tensor.start + first * columns * dtype.itemsize
        before = bytearray(b"".join(pieces(path, start, count * columns * dtype.itemsize)))
        weight = torch.frombuffer(before, dtype=dtype).view(count, columns)
        weight = added(weight, left[:, first : first + count], right)
        if not torch.isfinite(weight).all():
            advice = "Leave edits out (--remove), or take the model in a wider type."
            raise OnemaskError(f"finite weights of type {tensor.dtype}", f"NaN or infinity in {tensor.name}", advice)
        with open(path, "r+b") as file:
            file.seek(start)
            file.write(weight.contiguous().view(torch.uint8).numpy())


def write_edited(
    folder: Path, scratch: Path, family: str, edits: list[FactoredEdits], callback: Callable[[int], None] = nothing
) -> list[str]:
    """Write a checkpoint with the sum of all edits in its weights; the names of the files that were left out.

    callback: told the number of files of weights done.

    Raises OnemaskError where W of an edited layer is not there, of another shape or type, or not finite afterwards.
    """
    row = FAMILIES[family]
    places = [(part, *stored_weight(folder, row, part.layer)) for part in edits]
    files, left = copied(folder)
    for path in files:
        shutil.copyfile(path, scratch / path.name)
    for done, path in enumerate(weight_files(folder), 1):
        shutil.copyfile(path, scratch / path.name)
        for part, file, tensor in places:
            if file == path:
                add_to_file(scratch / path.name, tensor, part, row.transposed)
        callback(done)
    return left
