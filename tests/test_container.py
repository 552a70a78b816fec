"""The Dockerfile installs what `make` installs, from the lock, out of what the build is given."""

import re
import shutil
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from conftest import ROOT

LINES = [line for line in (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
STEPS = [tuple(line.split(" ", 1)) for line in LINES]
IGNORED = [
    f"/{line}".replace("/**/", "*/")
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
]


@pytest.fixture(scope="module")
def context(tmp_path_factory) -> Path:
    """What `COPY . .` copies."""
    folder = tmp_path_factory.mktemp("context") / "onemask"

    def ignored(at: str, names: list[str]) -> list[str]:
        paths = {name: f"/{Path(at, name).relative_to(ROOT)}" for name in names}
        return [name for name, path in paths.items() if any(fnmatch(path, rule) for rule in IGNORED)]

    shutil.copytree(ROOT, folder, ignore=ignored)
    return folder


def installed(context: Path) -> str:
    """What `make .venv/.installed` would do there."""
    return subprocess.run(["make", "-n", ".venv/.installed"], cwd=context, check=True, capture_output=True, text=True).stdout


def test_it_installs_by_make_what_it_has_copied():
    kinds = [kind for kind, _ in STEPS]
    assert kinds == ["FROM", "RUN", "WORKDIR", "COPY", "RUN", "ENV"]
    folder = dict(STEPS)["WORKDIR"]
    assert STEPS[3:] == [("COPY", ". ."), ("RUN", "make .venv/.installed"), ("ENV", f"PATH={folder}/.venv/bin:$PATH")]


def test_its_python_is_that_of_the_environments():
    version = re.fullmatch(r"python:([\d.]+)-slim-bookworm", dict(STEPS)["FROM"])[1]
    for path in (ROOT / "envs").glob("*.yaml"):
        assert f"python={version}" in yaml.safe_load(path.read_text(encoding="utf-8"))["dependencies"]
    required = re.search(r'requires-python = "(.+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))[1]
    assert Version(version) in SpecifierSet(required)


def test_what_the_install_reads_is_copied_and_is_the_whole_lock(context):
    read = set(re.findall(r"-[rc] (\S+)", installed(context)))
    assert read == {str(path.relative_to(ROOT)) for path in (ROOT / "requirements").glob("*.txt")}
    assert all(
        (context / path).is_file() for path in [*read, "pyproject.toml", "README.md", "workflow_scripts/onemask/__init__.py"]
    )
    assert not (context / ".venv").exists() and not (context / "results").exists() and not list(context.rglob("__pycache__"))


def test_a_part_of_the_lock_that_is_not_copied_is_noticed(context, tmp_path):
    shutil.copytree(context, tmp_path / "less")
    (tmp_path / "less" / "requirements" / "torch.txt").unlink()
    with pytest.raises(subprocess.CalledProcessError):
        installed(tmp_path / "less")
