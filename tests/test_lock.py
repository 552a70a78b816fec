"""The lock of every version: it holds all that is installed here and all that the project asks for, hashed but for torch."""

import importlib.metadata
import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import write_lock
from onemask.archive import archive
from write_environments import HERE, canonical, read_lock

PROJECT = tomllib.loads(write_lock.PROJECT.read_text(encoding="utf-8"))
HASHED, TORCH = ("build.txt", "lock.txt"), "torch.txt"
LOCK = {name: package.version for name, package in read_lock(*HASHED, TORCH).items()}
NOT_LOCKED = {"onemask", "pip", "easyeditor"}  # the project; what comes with Python; a wheel whose version the Makefile names


def installed() -> dict[str, str]:
    """Versions of all that this environment holds; torch's "+cpu" is where it was built, no version."""
    found = {canonical(found.name): Version(found.version).public for found in importlib.metadata.distributions()}
    return {name: version for name, version in found.items() if name not in NOT_LOCKED}


def outside(versions: dict[str, str], lock: dict[str, str]) -> list[str]:
    """Packages that a lock lacks, or has in another version."""
    return sorted(
        f"{name} {version}, locked: {lock.get(name)}" for name, version in versions.items() if lock.get(name) != version
    )


def asked_for() -> list[Requirement]:
    extras = [line for lines in PROJECT["project"]["optional-dependencies"].values() for line in lines]
    return [Requirement(line) for line in PROJECT["project"]["dependencies"] + extras]


def test_the_lock_covers_everything_that_is_installed():
    assert {"torch", "seaborn", "sympy", "setuptools"} <= set(installed())
    assert not outside(installed(), LOCK)


def test_what_the_lock_lacks_or_has_otherwise_is_named():
    assert outside({"torch": "2.13.0", "rich": "15.0.0"}, {"torch": "2.13.0", "rich": "15.0.1"}) == [
        "rich 15.0.0, locked: 15.0.1"
    ]
    assert outside({"new": "1.0"}, LOCK) == ["new 1.0, locked: None"]
    without = {name: version for name, version in LOCK.items() if name != "sympy"}
    assert outside(installed(), without) == [f"sympy {LOCK['sympy']}, locked: None"]


@pytest.mark.parametrize("requirement", asked_for(), ids=lambda requirement: requirement.name)
def test_the_project_asks_for_one_version_and_the_lock_has_it(requirement):
    assert str(requirement.specifier) == f"=={LOCK[canonical(requirement.name)]}"


def test_what_builds_the_project_is_locked():
    for line in PROJECT["build-system"]["requires"]:
        requirement = Requirement(line)
        assert requirement.specifier.contains(read_lock("build.txt")[canonical(requirement.name)].version)


def test_all_but_torch_is_hashed():
    for file in HASHED:
        entries = re.split(r"^(?=[a-z])", (HERE / file).read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
        assert entries and all("--hash=sha256:" in entry for entry in entries)
    assert "--hash" not in (HERE / TORCH).read_text(encoding="utf-8")
    assert all(write_lock.OF_TORCH.match(name) for name in read_lock(TORCH))
    assert not any(write_lock.OF_TORCH.match(name) for name in read_lock(*HASHED))
    assert "torchvision" not in LOCK


def test_an_archive_carries_the_lock_and_says_how_to_install_from_it():
    archived = archive.read_code(write_lock.PROJECT.parent)
    named = re.findall(r"code/[a-z]+/[a-z]+\.(?:txt|yaml)", archive.README)
    assert {f"code/requirements/{file}" for file in HASHED} <= set(named) <= set(archived)
    assert f"code/requirements/{TORCH}" in archived and "code/Makefile" in archived


RESOLVED = """\
colorama==0.4.6 ; sys_platform == 'win32' \\
    --hash=sha256:aa
    # via tqdm
nvidia-nccl-cu13==2.29.7 ; sys_platform == 'linux' \\
    --hash=sha256:bb \\
    --hash=sha256:cc
    # via torch
setuptools==84.2.1 \\
    --hash=sha256:dd
    # via torch
torch==2.13.0 \\
    --hash=sha256:ee
    # via onemask (pyproject.toml)
tqdm==4.70.1 ; sys_platform != 'emscripten' \\
    --hash=sha256:ff
    # via onemask (pyproject.toml)
"""


def test_what_uv_resolves_is_divided_by_how_it_is_installed():
    divided = write_lock.divide(write_lock.entries(RESOLVED), ["setuptools>=80"])
    assert {file: text.split("\n", 1)[1] for file, text in divided.items()} == {
        "build.txt": "setuptools==84.2.1 \\\n    --hash=sha256:dd\n    # via torch\n",
        "lock.txt": "tqdm==4.70.1 \\\n    --hash=sha256:ff\n    # via onemask (pyproject.toml)\n",
        "torch.txt": "nvidia-nccl-cu13==2.29.7 ; sys_platform == 'linux'\n    # via torch\n"
        "torch==2.13.0\n    # via onemask (pyproject.toml)\n",
    }
