"""The pages that are written: those with marks, docs/configuration.md, and the site's first page, which is the README."""

import posixpath
import re
from pathlib import Path

from onemask.io.errors import OnemaskError
from onemask.site import configuration, marks

LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


def index(readme: str) -> str:
    """The README as a page of docs/: links into docs/ lose the folder, other files of the repository are named without a link."""

    def moved(link: re.Match[str]) -> str:
        image, text, target = link.groups()
        if "://" in target or target.startswith("#"):
            return link.group(0)
        path = posixpath.normpath(target)
        return f"{image}[{text}]({path.removeprefix('docs/')})" if path.startswith("docs/") else text

    return LINK.sub(moved, readme)


def written(root: Path) -> dict[Path, str]:
    """Every generated page of a clone, by its path, with what it should hold.

    Raises OnemaskError that names every mark that cannot be filled.
    """
    docs, pages, missing = root / "docs", {}, []
    sources = [root / "README.md", *sorted(path for path in docs.rglob("*.md") if path != docs / "index.md")]
    for path in sources:
        text, lacking = marks.filled(path.read_text(encoding="utf-8"), docs, str(path.relative_to(root)))
        pages[path], missing = text, missing + lacking
    if missing:
        raise OnemaskError(
            "a committed result for every mark",
            f"{len(missing)} without:\n" + "\n".join(missing),
            "Publish the run (`make results RUN=...`).",
        )
    pages[docs / "configuration.md"] = configuration.page(root / "config")
    pages[docs / "index.md"] = index(pages[root / "README.md"])
    return pages
