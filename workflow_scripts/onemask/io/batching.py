"""Work in batches that survives a kill and a full GPU: finished batches on disk, and halving where memory runs out."""

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from onemask.io.errors import OnemaskError, reason
from onemask.io.files import digest
from onemask.io.tensor_files import read_tensors, write_tensors


@dataclass(frozen=True)
class Journal:
    """Finished batches in a folder, taken up again by a run with the same `fingerprint`; without a folder nothing is kept.

    As a context: when the block ends well, nothing is left of it.
    """

    folder: Path | None = None
    fingerprint: str = ""

    @classmethod
    def beside(cls, output: str, made_from: object) -> "Journal":
        """The journal of a job that writes `output`, for runs in which all that it is made from is the same."""
        return cls(Path(output + ".batches"), digest(made_from))

    def part(self, name: str) -> "Journal":
        """A journal of its own for one of several computations of a job, within this one."""
        return Journal(self.folder and self.folder / name, self.fingerprint)

    def _path(self, batch: list[int]) -> Path | None:
        return self.folder and self.folder / f"{hashlib.sha256(json.dumps(batch).encode()).hexdigest()[:16]}.safetensors"

    def read(self, batch: list[int]) -> dict[str, Tensor] | None:
        """What `write` kept of this batch of facts, or None where there is nothing, or nothing whole, of this run."""
        path = self._path(batch)
        if path is None or not path.is_file():
            return None
        try:
            tensors, metadata = read_tensors(path, "a batch")
        except OnemaskError:
            return None
        return tensors if metadata["fingerprint"] == self.fingerprint else None

    def write(self, batch: list[int], tensors: dict[str, Tensor]) -> None:
        """Keep a finished batch."""
        if path := self._path(batch):
            write_tensors(path, tensors, {"fingerprint": self.fingerprint})

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, error: type[BaseException] | None, *details: object) -> None:
        """Forget everything, where the job ended well."""
        if error is None:
            self.clear()

    def clear(self) -> None:
        """Forget everything."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


Compute = Callable[[list[int]], dict[str, Tensor]]


def nothing(done: int) -> None:
    """The callback of work that nobody watches."""


@dataclass(frozen=True)
class Work:
    """How a computation over many facts is done: at most so many tokens at once, finished batches kept, somebody told.

    batch_tokens: padded tokens run at once; bounds memory. callback: told the number of facts done after each batch.

    As a context: when the block ends well, nothing is left of its journal.
    """

    batch_tokens: int = 4096
    journal: Journal = field(default_factory=Journal)
    callback: Callable[[int], None] = nothing

    def part(self, name: str) -> "Work":
        """One of several computations of a job, with a journal of its own; nobody is told of it."""
        return Work(self.batch_tokens, self.journal.part(name))

    def in_turn(self, sizes: Iterable[int]) -> Iterator["Work"]:
        """Several groups of facts one after the other, each with a journal of its own; sizes: the facts of each."""
        done = 0
        for number, size in enumerate(sizes):
            part = self.journal.part(str(number))
            yield Work(self.batch_tokens, part, lambda count, before=done: self.callback(before + count))
            done += size

    def __enter__(self) -> "Work":
        return self

    def __exit__(self, error: type[BaseException] | None, *details: object) -> None:
        self.journal.__exit__(error, *details)


IN_MEMORY = Work()


def _results(groups: list[list[int]], compute: Compute, work: Work) -> Iterator[tuple[list[int], dict[str, Tensor]]]:
    """Each group of indices with what `compute` returns for it, on the CPU; groups halved where the device's memory is full."""
    todo, done = list(reversed(groups)), 0
    while todo:
        group = todo.pop()
        result = work.journal.read(group)
        if result is None:
            try:
                result = {name: _stored(part) for name, part in compute(group).items()}
            except torch.OutOfMemoryError as error:
                # halved behind this block: within it, the traceback keeps the batch's tensors alive
                full = reason(error)
            if result is None:
                torch.cuda.empty_cache()
                todo += _halved(group, full)
                continue
            work.journal.write(group, result)
        yield group, result
        done += len(group)
        work.callback(done)


def run_batches(groups: list[list[int]], compute: Compute, work: Work = IN_MEMORY) -> dict[str, Tensor]:
    """Call `compute` on each group of indices; its tensors, one row an index, joined in the order of the indices, on the CPU.

    Raises OnemaskError when a single index is too large for the device's memory.
    """
    done = list(_results(groups, compute, work))
    order = torch.tensor([index for group, _ in done for index in group]).argsort()
    return {name: torch.cat([result[name] for _, result in done])[order] for name in sorted(done[0][1])}


def sum_batches(groups: list[list[int]], compute: Compute, work: Work = IN_MEMORY) -> dict[str, Tensor]:
    """`run_batches` of tensors of one shape, added up in the order of the groups."""
    total: dict[str, Tensor] = {}
    for _, result in _results(groups, compute, work):
        total = {name: part + total[name] if total else part for name, part in result.items()}
    return total


def _stored(tensor: Tensor) -> Tensor:
    # a single row of a wider tensor calls itself contiguous, whatever its strides, and cannot be written: a copy can
    return tensor.cpu().clone(memory_format=torch.contiguous_format)


def _halved(group: list[int], message: str) -> list[list[int]]:
    if len(group) == 1:
        advice = "Take a device with more memory, or a model or dtype that needs less."
        raise OnemaskError("a fact's texts to fit into the device's memory", message, advice)
    half = len(group) // 2
    logging.warning("out of memory with %d facts at once: going on with %d", len(group), half)
    return [group[half:], group[:half]]
