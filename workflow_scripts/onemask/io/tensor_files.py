"""Tensors on disk, safetensors and checkpoints of a job: written whole or not at all, and damage is found when they are read."""

import hashlib
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from onemask.io.errors import REMAKE, OnemaskError, reason
from onemask.io.files import METADATA_KEY, digest, replacing

KEY = METADATA_KEY.decode()  # the only one: safetensors writes several in any order, and equal contents would differ in bytes


def _digest(tensors: dict[str, Tensor], metadata: str) -> str:
    """SHA-256 of names, types, shapes, numbers and metadata: safetensors itself does not notice a flipped bit."""
    hashed = hashlib.sha256(metadata.encode())
    for name, tensor in sorted(tensors.items()):
        hashed.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        hashed.update(tensor.flatten().view(torch.uint8).numpy())
    return hashed.hexdigest()


def write_tensors(path: str | Path, tensors: dict[str, Tensor], metadata: dict) -> None:
    """Write tensors with metadata (of JSON); OnemaskError when the disk is full or the folder cannot be written."""
    text = json.dumps(metadata, sort_keys=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with replacing(path) as temporary:
        try:
            save_file(tensors, temporary, {KEY: json.dumps([_digest(tensors, text), text])})
        except SafetensorError as error:  # safetensors' word for a full disk
            raise OSError(str(error)) from error


def read_tensors(path: str | Path, what: str, *names: str) -> tuple[dict[str, Tensor], dict]:
    """Tensors and metadata that `write_tensors` wrote. what: the file's kind, for errors; names: tensors that it has to hold.

    Raises OnemaskError when the file is missing, damaged, another maker's, or of another kind.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata, tensors = file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}
    except (OSError, SafetensorError) as error:
        raise OnemaskError(f"{what} at {path}", reason(error), REMAKE) from error
    try:
        digest, text = json.loads(metadata[KEY])
    except (KeyError, TypeError, ValueError):  # another maker's
        digest, text = None, ""
    if digest != _digest(tensors, text):
        raise OnemaskError(f"{what} at {path}", "other content than onemask wrote", REMAKE)
    if set(names) - set(tensors):
        raise OnemaskError(f"{what} at {path}", f"a file of {', '.join(tensors)}", REMAKE)
    return tensors, json.loads(text)


@dataclass(frozen=True)
class Checkpoint:
    """What a job needs to go on, in a file, taken up by a job with the same `fingerprint`; without a path nothing is kept.

    As a context: when the block ends well, the file is deleted.
    """

    path: Path | None = None
    fingerprint: str = ""

    @classmethod
    def beside(cls, output: str, made_from: object) -> "Checkpoint":
        """The checkpoint of a job that writes `output`, for runs in which all that it is made from is the same."""
        return cls(Path(output + ".checkpoint"), digest(made_from))

    def write(self, content: dict) -> None:
        """Keep some content; OnemaskError when the disk is full or the folder cannot be written."""
        if self.path is None:
            return
        with replacing(self.path) as temporary:
            try:
                with open(temporary, "wb") as file:
                    torch.save(content | {"fingerprint": self.fingerprint}, file)
            except RuntimeError as error:  # which torch raises over a full disk's OSError
                raise OSError(reason(error.__context__ or error)) from error

    def read(self) -> dict | None:
        """What this job kept, on the CPU, or None where there is none; OnemaskError when the file is damaged."""
        if self.path is None or not self.path.exists():
            return None
        try:
            with zipfile.ZipFile(self.path) as archive:
                damaged = archive.testzip()  # which torch does not look for
            if damaged:
                raise zipfile.BadZipFile(f"{damaged} is damaged")
            content = torch.load(self.path, weights_only=True, map_location="cpu")
        except Exception as error:  # zipfile, zlib, pickle and torch have each their own
            raise OnemaskError(f"a whole checkpoint at {self.path}", reason(error), "Delete it and run again.") from error
        return content if content["fingerprint"] == self.fingerprint else None

    def __enter__(self) -> "Checkpoint":
        return self

    def __exit__(self, error: type[BaseException] | None, *details: object) -> None:
        if error is None and self.path is not None:
            self.path.unlink(missing_ok=True)


NO_CHECKPOINT = Checkpoint()
