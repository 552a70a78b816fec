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
from onemask.model.checkpoints import INDEX, TYPES, WEIGHTS, pieces, stored_weight, tensors, weight_files
from onemask.model.edits import FactoredEdits
from onemask.model.families import FAMILIES

DTYPES = dict(zip(TYPES, (torch.float64, torch.float32, torch.float16, torch.bfloat16), strict=True))
ROWS_OF = 1 << 24  # numbers of W changed at once
OURS = "onemask.json"  # who the unedited model is
JUDGED = ("config.json", "tokenizer.json", INDEX)  # read, as the weights are, and found to be what they should
TEMPLATES = "additional_chat_templates"  # the one folder that belongs to a checkpoint
TEXT = (".json", ".jsonl", ".txt", ".md", ".rst", ".yaml", ".yml", ".csv", ".jinja", "")  # "": LICENSE
VOCABULARY = (".model", ".vocab", ".bpe", ".spm", ".tiktoken")
PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg", ".pdf")


def copied(folder: Path) -> tuple[list[Path], list[str]]:
    """Files beside the weights that go with an edited checkpoint, and the names of what does not.

    Only text, vocabularies and pictures go: another file may hold the unedited weights, or run code. A link is followed where it
    leads into the folder, or where the weights, their index, the config or the tokenizer lie (as in a hub's cache); what leads
    elsewhere may be any file of this machine.
    """
    weights, home = weight_files(folder), folder.resolve()
    unused = {path for path in folder.glob("*.index.json") if path.name != INDEX or (folder / WEIGHTS) in weights}
    judged = {*weights, *(folder / name for name in JUDGED)} - unused  # where an unused file leads, nobody has looked
    places = {path.resolve().parent for path in judged}
    taken, left = [], []
    for path in sorted([*folder.iterdir(), *folder.glob(f"{TEMPLATES}/*")]):
        if path in weights or path.name == OURS or path.is_dir() and path.name.startswith((".", TEMPLATES)):
            continue
        near = path.is_file() and (path.resolve().parent in places or path.resolve().is_relative_to(home))
        if near and path not in unused and path.suffix.lower() in (*TEXT, *VOCABULARY, *PICTURES):
            taken.append(path)
        else:
            left.append(str(path.relative_to(folder)))
    return taken, left


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
    row, found = FAMILIES[family], tensors(folder)
    places = [(part, *stored_weight(found, row, part.layer, str(folder))) for part in edits]
    files, left = copied(folder)
    for path in files:
        target = scratch / path.relative_to(folder)
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, target)
    for done, path in enumerate(weight_files(folder), 1):
        shutil.copyfile(path, scratch / path.name)
        for part, file, tensor in places:
            if file == path:
                add_to_file(scratch / path.name, tensor, part, row.transposed)
        callback(done)
    return left
