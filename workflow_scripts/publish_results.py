"""Copy the results of a finished run into docs/results/<run>/ as two CSV: `publish_results.py demo`. Then `make docs`."""

import argparse
import sys
from pathlib import Path

from onemask.io.errors import OnemaskError
from onemask.site.published import publish

ROOT = Path(__file__).resolve().parent.parent


def main(arguments: list[str] | None = None) -> None:
    """Run the command; an OnemaskError is one line on standard error and exit status 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="name of the run, a folder of results/")
    try:
        for path in publish(ROOT / "results", parser.parse_args(arguments).run, ROOT / "docs"):
            print(path.relative_to(ROOT))
    except OnemaskError as error:
        sys.exit(f"onemask: {error}")


if __name__ == "__main__":
    main()
