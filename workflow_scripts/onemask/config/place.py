"""Where a run may lie. Asked by `make` too, before anything is installed: only Python's own modules are there."""

import re
import sys
from pathlib import Path

from onemask.io.errors import OnemaskError

TWO_WORDS = re.compile(r"[^\w@%+=:,./~-]")  # a shell takes a path with one of these for something else


def check_interpreter(path: str) -> None:
    """Raises OnemaskError where Snakemake cannot start Python, whose path it gives to a shell without quotes."""
    if TWO_WORDS.search(path):
        advice = "Move the clone (or the environment) to another folder, delete .venv there, and run make again."
        raise OnemaskError("a path to Python without blanks, quotes and other signs of the shell", path, advice)


def check_easyeditor(environments: Path) -> None:
    """Raises OnemaskError where Snakemake cannot run easyeditor.post-deploy.sh, whose path it gives to a shell without quotes."""
    if TWO_WORDS.search(str(environments)):
        advice = "Add --conda-prefix with a folder whose path has none."
        raise OnemaskError("a path to EasyEdit's conda environment without blanks and quotes", str(environments), advice)


def check_pins(environments: Path) -> None:
    """Raises OnemaskError where an environment has a pin file: with one, Snakemake leaves out what pip would install."""
    if pins := sorted(path.name for path in environments.glob("*.pin.txt")):
        advice = "Delete what `snakedeploy pin-conda-envs` wrote: every version stands in the environments already."
        raise OnemaskError(f"environments without pin files in {environments}", ", ".join(pins), advice)


if __name__ == "__main__":
    try:
        check_interpreter(str(Path.cwd() / ".venv" / "bin" / "python"))
    except OnemaskError as error:
        sys.exit(f"onemask: {error}")
