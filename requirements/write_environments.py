"""Write envs/*.yaml: the packages that pyproject.toml names for each, and all that these bring, at the versions of the lock.

`make envs` calls this, and `make lock` too. It asks no network: the lock says by what each package comes. The comment at the
head of a file stays as it is.
"""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROJECT, ENVIRONMENTS = HERE.parent / "pyproject.toml", HERE.parent / "envs"
ENTRY = r"^(?P<name>[a-z]\S*)==(?P<version>\S+)(?: ; (?P<marker>.*?))?(?: \\)?\n(?P<rest>(?: .*\n)*)"
TEMPLATE = """{head}channels: [conda-forge]
dependencies:
  - python=3.11
  - pip=26.1
  - pip:
      # written by `make envs`, from pyproject.toml's table of environments
{direct}
      # what these bring
{brought}
"""


@dataclass(frozen=True)
class Locked:
    """A package of the lock: its version, the marker of platforms that it is for ("" for all), and what it comes by."""

    version: str
    marker: str
    via: frozenset[str]

    def line(self, name: str) -> str:
        return f"      - {name}=={self.version}" + (f" ; {self.marker}" if self.marker else "")


def canonical(name: str) -> str:
    """The name as the lock spells it, without extras."""
    return re.sub(r"[-_.]+", "-", name.partition("[")[0]).lower()


def read_lock(*files: str) -> dict[str, Locked]:
    """Packages of some of the lock's files by canonical name."""
    text = "".join((HERE / file).read_text(encoding="utf-8") for file in files)
    found = {}
    for first in re.finditer(ENTRY, text, flags=re.MULTILINE):
        via = re.findall(r"^    #(?: via)? +(\S+)", first["rest"], flags=re.MULTILINE)
        found[first["name"]] = Locked(first["version"], first["marker"] or "", frozenset(via) - {"via"})
    return found


def behind(direct: list[str], lock: dict[str, Locked]) -> list[str]:
    """Packages that others bring, directly or in turn, sorted, without these themselves."""
    reached = wanted = {canonical(name) for name in direct}
    while grown := {name for name, package in lock.items() if package.via & reached} - reached:
        reached = reached | grown
    return sorted(reached - wanted)


def content(name: str) -> str:
    """What envs/<name>.yaml should hold. What torch's CUDA wheels bring is left out: torch itself names their versions."""
    lock = read_lock("build.txt", "lock.txt")
    versions = lock | read_lock("torch.txt")
    direct = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["tool"]["onemask"]["environments"][name]
    head = re.match(r"(#.*\n)*", (ENVIRONMENTS / f"{name}.yaml").read_text(encoding="utf-8"))
    return TEMPLATE.format(
        head=head[0] if head else "",
        direct="\n".join(versions[canonical(package)].line(package) for package in direct),
        brought="\n".join(lock[package].line(package) for package in behind(direct, lock)),
    )


def main() -> None:
    for path in ENVIRONMENTS.glob("*.yaml"):
        path.write_text(content(path.stem), encoding="utf-8")


if __name__ == "__main__":
    main()
