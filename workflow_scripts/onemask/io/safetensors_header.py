"""What a safetensors file says of its tensors, held against the file itself before anything is loaded."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onemask.io.errors import OnemaskError, reason, shown

LARGEST = 16_000_000  # bytes of a header; a model of 70B parameters has 0.1 MB
DIMENSIONS = 8  # of a tensor; the product of millions of them would take hours
BYTES = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 8),
    **dict.fromkeys(("F32", "I32", "U32"), 4),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 2),
    **dict.fromkeys(("BOOL", "I8", "U8", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 1),
}
POINTER = b"version https://git-lfs"
AGAIN = "Fetch or save the model again."


@dataclass(frozen=True)
class Stored:
    """A tensor as it lies in a file: its type, its shape, and the bytes from `start` on."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    size: int


def refuse_pointer(path: Path, beginning: bytes) -> None:
    """Raise OnemaskError where a file is what Git keeps in the place of a large one."""
    if beginning.startswith(POINTER):
        advice = "Run `git lfs pull` in the folder that it came from."
        raise OnemaskError(f"the file itself at {path}", "a Git LFS pointer to it", advice)


def read_header(path: Path) -> list[Stored]:
    """The tensors of a safetensors file, in the order of their bytes.

    Raises OnemaskError where the file is no such one, is cut off, or its header contradicts it or itself: bytes outside the
    file, in two tensors at once or in none, other than the shape asks for, two tensors of one name, or an unknown type.
    """
    length = path.stat().st_size
    with open(path, "rb") as file:
        first = file.read(8)
        refuse_pointer(path, first + file.read(len(POINTER)))
        stated = int.from_bytes(first, "little")
        if len(first) < 8 or stated > min(LARGEST, length - 8):
            found = f"{length:,} bytes, of which it says {stated:,} are its header"
            raise OnemaskError(f"a whole safetensors file at {path}, its header at most {LARGEST:,} bytes", found, AGAIN)
        file.seek(8)
        text = file.read(stated)
    try:
        content = json.loads(text, object_pairs_hook=_each_once)
        tensors = [_stored(name, entry) for name, entry in content.items() if name != "__metadata__"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise OnemaskError(f"a safetensors header in {path}", reason(error), AGAIN) from error
    tensors.sort(key=lambda tensor: (tensor.start, tensor.size))
    end = 0
    for tensor in tensors:
        if tensor.start != end:
            found = f"{shown(tensor.name)} at byte {tensor.start:,}, not {end:,}"
            raise OnemaskError(f"tensors side by side in {path}", found, AGAIN)
        end += tensor.size
    if end != length - 8 - stated:
        raise OnemaskError(f"{end:,} bytes of tensors in {path}, as its header says", f"{length - 8 - stated:,}", AGAIN)
    return [Stored(part.name, part.dtype, part.shape, part.start + 8 + stated, part.size) for part in tensors]


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _stored(name: str, entry: dict[str, Any]) -> Stored:
    """A tensor of a header; ValueError, KeyError or TypeError where it makes no sense."""
    start, end = entry["data_offsets"]
    shape, width = tuple(entry["shape"]), BYTES[entry["dtype"]]
    if len(shape) > DIMENSIONS:
        raise ValueError(f"{shown(name)} has {len(shape):,} dimensions")
    if not all(type(number) is int and number >= 0 for number in (*shape, start, end)):
        raise ValueError(f"{shown(name)} has a shape or offsets that are no whole numbers from 0 on")
    if end - start != math.prod(shape) * width:
        raise ValueError(f"{shown(name)} of shape {list(shape)} and type {entry['dtype']} has {end - start:,} bytes")
    return Stored(name, entry["dtype"], shape, start, end - start)
