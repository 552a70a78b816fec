"""The rooms of the library: imports go forward only, and what draws or summarises loads no torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

LIBRARY = Path(__file__).resolve().parent.parent / "workflow_scripts" / "onemask"
# each room and what it may import, beside itself; schemas may be read by all
MAY_IMPORT = {
    "io": set(),
    "config": {"io", "masking", "data", "editors"},
    "model": {"io"},
    "data": {"io", "model"},
    "editors": {"io", "model", "data"},
    "masking": {"io", "model", "data", "editors"},
    "measuring": {"io", "model", "data", "editors", "masking"},
    "summaries": {"io", "config", "data", "editors", "masking", "measuring"},
    "figures": {"io", "data", "editors", "summaries"},
    "planning": {"io", "config", "model", "data", "editors", "masking", "measuring"},
    "archive": {"io", "config"},
    "site": {"io", "config", "editors"},
    "cluster": set(),
    "commands": {"io", "config", "model", "data", "editors", "masking", "measuring", "summaries", "figures"},
}
TORCH_FREE = ("figures", "archive", "config", "site", "cluster")


def imported(file: Path, library: Path) -> set[str]:
    """Rooms that a file imports, its own left out; a room's schemas are everybody's."""
    modules = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("onemask."):
            modules.add(node.module)
        elif isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names if alias.name.startswith("onemask.")}
    own = file.relative_to(library).parts[0]
    return {name.split(".")[1] for name in modules if not name.endswith(".schemas")} - {own}


def backward(room: str, library: Path = LIBRARY) -> list[str]:
    """Imports of a room's files that it may not have."""
    files = sorted((library / room).rglob("*.py"))
    assert files
    return [f"{file.name} imports {name}" for file in files for name in sorted(imported(file, library) - MAY_IMPORT[room])]


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_a_room_imports_no_room_behind_it(room):
    assert backward(room) == []


def test_every_folder_is_a_room_and_no_module_lies_beside_them():
    assert {path.name for path in LIBRARY.iterdir() if (path / "__init__.py").is_file()} == set(MAY_IMPORT)
    assert [path.name for path in LIBRARY.glob("*.py")] == ["__init__.py"]


def test_an_arrow_that_goes_back_is_seen(tmp_path):
    (tmp_path / "io").mkdir()
    text = (LIBRARY / "io" / "files.py").read_text(encoding="utf-8")
    (tmp_path / "io" / "files.py").write_text(f"{text}\nfrom onemask.model.models import Model\n", encoding="utf-8")
    assert backward("io", tmp_path) == ["files.py imports model"]


@pytest.mark.parametrize("room", TORCH_FREE)
def test_what_needs_no_model_loads_no_torch(room):
    modules = ", ".join(f"onemask.{room}.{path.stem}" for path in sorted((LIBRARY / room).glob("[a-z]*.py")))
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=LIBRARY.parent).returncode == 0
