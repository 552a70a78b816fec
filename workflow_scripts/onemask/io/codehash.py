"""A hash of the code that a script runs: the script and every module of this project that it imports, however deep."""

import ast
import functools
import hashlib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
OURS = ("onemask", "job")


def _module_files(name: str) -> list[Path]:
    """Files of a module of this project by its dotted name (none where it is another's).

    Told by name: where the package is installed, everybody's modules lie beside it.
    """
    if name.split(".")[0] not in OURS:
        return []
    path = ROOT.joinpath(*name.split("."))
    return [file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()]


@functools.cache
def _imports(file: Path) -> frozenset[Path]:
    """Files of this project that one file imports directly."""
    found: set[Path] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            found.update(_module_files(name))
    return frozenset(found)


def files_behind(*files: Path) -> list[Path]:
    """The files themselves and all they import within this project, sorted."""
    todo, seen = [Path(file).resolve() for file in files], set()
    while todo:
        file = todo.pop()
        if file not in seen:
            seen.add(file)
            todo.extend(_imports(file))
    return sorted(seen)


def code_hash(*files: Path) -> str:
    """SHA-256 over `files_behind`; comments and layout count, paths outside this project do not."""
    digest = hashlib.sha256()
    for file in files_behind(*files):
        digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()
