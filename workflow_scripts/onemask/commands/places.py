"""Where a command's model is, and whether its output can be written: asked before any expensive work."""

import re
import tempfile
from pathlib import Path

from onemask.data.hub import cached_hub
from onemask.io.errors import OnemaskError
from onemask.io.files import writing
from onemask.model.checkpoints import identity, judge, reading

HUB_NAME = re.compile(r"[\w][\w.-]*(/[\w][\w.-]*)?")


def locate(location: str) -> tuple[Path, dict]:
    """A checkpoint's folder and identity, from its folder or its name on the hub (fetched into the hub's cache).

    Raises OnemaskError when it is neither, lacks a part, or is of a family that is not known.
    """
    folder, revision = Path(location), "local"
    with reading(location):
        if not folder.is_dir():
            folder = _from_hub(location)
            revision = folder.name  # the cache names a snapshot's folder after its commit
        name = folder.resolve().name if revision == "local" else location
        return folder, identity(folder, name, name, revision, judge(folder, str(folder) if revision == "local" else location))


def _from_hub(location: str) -> Path:
    """The folder in the hub's cache of what is no folder here."""
    expected = "a checkpoint's folder, or its name on the hub (owner/name)"
    if Path(location).exists():
        raise OnemaskError(expected, f"the file {location}", "Give the folder that it lies in as --model.")
    if not HUB_NAME.fullmatch(location):
        raise OnemaskError(expected, f"no folder {location}, and no such name", "Correct --model.")
    try:
        return cached_hub(location)
    except OnemaskError as error:
        found = f"no folder {location}, and the hub, which was asked for it: {error.found}"
        raise OnemaskError(expected, found, error.do) from error


def require_place(out: Path) -> None:
    """Raise OnemaskError, before any expensive work, where nothing can be written beside `out`."""
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out.parent).close()
