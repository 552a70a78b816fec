"""Pack a finished run for reviewers: `make_archive.py demo --with edits masks`. Run from a clone whose changes are committed."""

import argparse
import sys
from pathlib import Path

from onemask.archive import archive
from onemask.io.errors import OnemaskError
from onemask.io.files import sha256

ROOT = Path(__file__).resolve().parent.parent


def megabytes(size: int) -> str:
    return f"{size / 1e6:.3f} MB"


def main(arguments: list[str] | None = None) -> None:
    """Run the command; an OnemaskError is one line on standard error and exit status 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="name of the run, a folder of results/")
    parser.add_argument(
        "--with", dest="optional", nargs="+", default=[], choices=archive.OPTIONAL, help="parts to put in as well"
    )
    options = parser.parse_args(arguments)
    try:
        path, sizes = archive.make(ROOT, options.run, options.optional)
    except OnemaskError as error:
        sys.exit(f"onemask: {error}")
    for part, size in sizes.items():
        left_out = part in archive.OPTIONAL and part not in options.optional
        print(f"{part:16}{megabytes(size):>14}" + f"  left out (WITH={part} puts them in)" * left_out)
    print(f"{path.relative_to(ROOT)}: {megabytes(path.stat().st_size)}, sha256 {sha256(path)}")


if __name__ == "__main__":
    main()
