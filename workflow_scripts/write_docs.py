"""Fill the marked places of README and docs/ from committed results, and write docs/configuration.md and docs/index.md."""

import sys
from pathlib import Path

from onemask.io.errors import OnemaskError
from onemask.io.files import write_text
from onemask.site.pages import written

ROOT = Path(__file__).resolve().parent.parent


def main(root: Path = ROOT) -> None:
    """Run the command; an OnemaskError goes to standard error, with exit status 1 and no page changed."""
    try:
        for path, text in written(root).items():
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                write_text(path, text)
                print(path.relative_to(root))
    except OnemaskError as error:
        sys.exit(f"onemask: {error}")


if __name__ == "__main__":
    main()
