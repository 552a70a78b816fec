"""Lock every version that the project installs: `make lock` writes build.txt, lock.txt and torch.txt beside this file.

uv resolves pyproject.toml, with all extras, for every supported Python on Linux and macOS at once, one version a package.
Three files, since pip checks hashes for all that a call installs or for nothing, and torch cannot have any: which of its
wheels is right (CPU, CUDA, macOS) depends on the machine, and so does the index that it comes from.

- build.txt: what builds packages, here and of those that come as source; installed first, with hashes.
- lock.txt: all the rest but torch, with hashes.
- torch.txt: torch and what its CUDA wheels bring, without hashes. It is a constraint: a CPU wheel brings nothing of it.
"""

import re
import subprocess
import sys
import tomllib
from itertools import product
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import Requirement

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent / "pyproject.toml"
SUPPORTED = [  # torch has no wheels for macOS on Intel
    {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": system, "platform_machine": machine}
    for python, (system, machine) in product(
        ("3.11", "3.12", "3.13"), (("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"))
    )
]
OF_TORCH = re.compile(r"(torch|triton|nvidia-.*|cuda-.*)$")
HEADS = {
    "build.txt": "What builds packages: `pip install --no-deps --require-hashes -r build.txt`, before lock.txt.",
    "lock.txt": "All but torch: `pip install --no-deps --no-build-isolation --use-pep517 --require-hashes -r lock.txt`.",
    "torch.txt": "torch, and what its CUDA wheels bring: `pip install -c torch.txt torch`, after lock.txt.",
}


def resolve(build: list[str]) -> str:
    """The newest versions that go together, in the form of a requirements file. build: what the project is built by."""
    options = ["--all-extras", "--universal", "--python-version", "3.11", "--fork-strategy", "fewest", "--generate-hashes"]
    command = [Path(sys.executable).with_name("uv"), "pip", "compile", PROJECT.name, "-", *options, "--no-header", "--quiet"]
    done = subprocess.run(command, input="\n".join(build), cwd=PROJECT.parent, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def entries(resolved: str) -> dict[str, str]:
    """Lines of each package that a supported platform needs, with hashes and what it comes by."""
    found = {}
    for entry in re.split(r"^(?=[a-z])", resolved, flags=re.MULTILINE)[1:]:
        name, _, _ = entry.partition("==")
        marker = re.match(r"\S+(?P<clause> ; (?P<condition>.*?))(?: \\)?$", entry, flags=re.MULTILINE)
        holds = [Marker(marker["condition"]).evaluate(platform) for platform in SUPPORTED] if marker else [True]
        if any(holds):
            found[name] = entry.replace(marker["clause"], "", 1) if marker and all(holds) else entry
    return found


def without_hashes(entry: str) -> str:
    return re.sub(r" \\$|^ +--hash=\S+(?: \\)?\n", "", entry, flags=re.MULTILINE)


def divide(packages: dict[str, str], build: list[str]) -> dict[str, str]:
    """Content of each of the lock's files."""
    builders = {Requirement(line).name for line in build}
    content = dict.fromkeys(HEADS, "")
    for name, entry in sorted(packages.items()):
        if OF_TORCH.match(name):
            content["torch.txt"] += without_hashes(entry)
        else:
            content["build.txt" if name in builders else "lock.txt"] += entry
    return {file: f"# Written by `make lock`. {HEADS[file]}\n{text}" for file, text in content.items()}


def main() -> None:
    build = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["build-system"]["requires"]
    for file, text in divide(entries(resolve(build)), build).items():
        (HERE / file).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
