"""Where a command's model is, and whether its output can be written: asked before any expensive work."""

import tempfile
from pathlib import Path

from onemask.data.hub import cached_hub
from onemask.io.errors import OnemaskError
from onemask.io.files import writing
from onemask.model.models import family_of, identity


def locate(location: str) -> tuple[Path, dict]:
    """A checkpoint's folder and identity, from its folder or its name on the hub (fetched into the hub's cache).

    Raises OnemaskError when it is neither, lacks a part, or is of a family that is not known.
    """
    folder, revision = Path(location), "local"
    if not folder.is_dir():
        if folder.exists() or location.startswith((".", "/")) or location.count("/") > 1:
            raise OnemaskError("a checkpoint's folder or its name on the hub", location, "Correct --model.")
        folder = cached_hub(location)
        revision = folder.name  # the cache names a snapshot's folder after its commit
    name = folder.resolve().name if revision == "local" else location
    return folder, identity(folder, name, name, revision, family_of(folder, location))


def require_place(out: Path) -> None:
    """Raise OnemaskError, before any expensive work, where nothing can be written beside `out`."""
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out.parent).close()
