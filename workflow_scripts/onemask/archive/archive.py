"""One file for reviewers: what a finished run shows, the data and code behind it, and a manifest; the same bytes every time."""

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from onemask.archive import crate
from onemask.archive.finished_run import Job, config_of, read_jobs
from onemask.io.errors import OnemaskError
from onemask.io.files import read_provenance, replacing

README = """# onemask, run {run}

    python verify.py

checks every file against its SHA-256 (so does `sha256sum -c manifest-sha256.txt`) and draws every figure anew from its tables.
It takes Python 3.11 with the packages of `code/envs/figures.yaml`, no model and no network. With conda:

    conda env create --name onemask-figures --file code/envs/figures.yaml

With pip, in a new environment, each package with its hash (torch is not needed, and not among them):

    pip install --no-deps --require-hashes -r code/requirements/build.txt
    pip install --no-deps --require-hashes --no-build-isolation --use-pep517 -r code/requirements/lock.txt

- `results/{run}/report.html`: the report. Beside it the tables, the figures, `config.yaml` with all settings of the run,
  `benchmarks/` with Snakemake's timings, and the data that figures are drawn from (each figure's `.json` names them).
- `code/`: commit {commit} of onemask, with its licence (`LICENSE`), environments (`envs/`), the lock of all versions
  (`requirements/`, which the `Makefile` installs from) and manual (`README.md`).
- `ro-crate-metadata.json`: parameters, jobs, inputs, outputs, timings, versions and hashes as a Workflow Run RO-Crate.
"""
OPTIONAL = ("edits", "masks")
MANIFEST, CRATE, VERIFY = "manifest-sha256.txt", "ro-crate-metadata.json", "verify.py"
MODE = 0o100644 << 16  # a regular file that all may read, as zip files say it


@dataclass(frozen=True)
class Entry:
    """A file of the archive: its content, or the path where it lies."""

    source: bytes | Path

    def open(self) -> io.BufferedReader | io.BytesIO:
        return self.source.open("rb") if isinstance(self.source, Path) else io.BytesIO(self.source)

    @property
    def size(self) -> int:
        return self.source.stat().st_size if isinstance(self.source, Path) else len(self.source)

    def sha256(self) -> str:
        with self.open() as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def git(root: Path, *arguments: str) -> bytes:
    """What a git command prints; OnemaskError where it fails, as outside of a clone."""
    try:
        return subprocess.run(["git", "-C", str(root), *arguments], check=True, capture_output=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        found = (getattr(error, "stderr", b"") or str(error).encode()).decode().strip().splitlines()[-1]
        raise OnemaskError(f"a git clone at {root}, since code is archived by commit", found, "Archive from a clone.") from error


def read_commit(root: Path) -> crate.Commit:
    """The checked-out commit; OnemaskError when tracked files differ from it, or outside of a clone."""
    changed = git(root, "status", "--porcelain", "--untracked-files=no").decode().splitlines()
    if changed:
        raise OnemaskError("no uncommitted change, since code is archived by commit", f"{changed[0].strip()!r}", "Commit first.")
    return crate.Commit(*git(root, "log", "-1", "--format=%H %cI").decode().split())


def read_code(root: Path) -> dict[str, Entry]:
    """All regular files of the checked-out commit, under code/."""
    with tarfile.open(fileobj=io.BytesIO(git(root, "archive", "--format=tar", "HEAD"))) as tar:
        return {
            f"code/{member.name}": Entry(file.read()) for member in tar if member.isfile() and (file := tar.extractfile(member))
        }


def part_of(path: str, run: str) -> str | None:
    """The archive's part that an output belongs to by its place, None where it belongs to none."""
    parent = Path(path).parent
    by_folder = {f"results/{run}": "report", f"results/{run}/tables": "tables", f"results/{run}/figures": "figures"}
    if parent.as_posix() in by_folder:
        return by_folder[parent.as_posix()]
    return "edits" if "edits" in parent.parts else "masks" if path.endswith("/mask.safetensors") else None


def behind_figures(root: Path, records: list[str]) -> set[str]:
    """Paths that figures are drawn from, by the records that `draw_figure.py` leaves beside them."""
    kinds = [json.loads((root / path).read_text(encoding="utf-8"))["input"].values() for path in records]
    return {path for paths in kinds for kind in paths for path in ([kind] if isinstance(kind, str) else kind)}


def choose(root: Path, run: str, jobs: list[Job]) -> dict[str, dict[str, Entry]]:
    """Files of a run by part and name; OnemaskError when one of them is missing."""
    parts: dict[str, set[str]] = {
        name: set() for name in ("report", "tables", "figures", "data of figures", "timings", *OPTIONAL)
    }
    for path in (path for job in jobs for path in job.outputs):
        if part := part_of(path, run):
            parts[part].add(path)
    records = sorted(path for path in parts["figures"] if path.endswith(".json"))
    parts["data of figures"] = behind_figures(root, records) - parts["tables"]
    parts["timings"] = {job.benchmark for job in jobs}
    missing = sorted(path for paths in parts.values() for path in paths if not (root / path).is_file())
    if missing:
        raise OnemaskError(
            f"the file {missing[0]}", "none", f"Make it again: snakemake --configfile {config_of(run)} {missing[0]}"
        )
    return {part: {path: Entry(root / path) for path in sorted(paths)} for part, paths in parts.items()}


def versions(root: Path, shown: dict[str, dict[str, Entry]]) -> list[tuple[str, str]]:
    """Names and versions of all packages that made the tables and drew the figures."""
    installed = [read_provenance(root / path)["versions"] for path in shown["tables"] if path.endswith(".parquet")]
    installed += [
        json.loads((root / path).read_text(encoding="utf-8"))["versions"] for path in shown["figures"] if path.endswith(".json")
    ]
    return sorted({package for packages in installed for package in packages.items()})


def write_zip(path: Path, entries: dict[str, Entry]) -> None:
    """Write entries sorted by name, with nothing of their owner, place or age; OnemaskError when the disk is full."""
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as file:
        for name, entry in sorted(entries.items()):
            info = zipfile.ZipInfo(name)  # dated 1980
            info.compress_type, info.create_system, info.external_attr = zipfile.ZIP_DEFLATED, 3, MODE
            info.file_size = entry.size  # tells zipfile in advance which files are too large for the old format
            with entry.open() as source, file.open(info, "w") as target:
                shutil.copyfileobj(source, target)


def make(root: Path, run: str, optional: list[str]) -> tuple[Path, dict[str, int]]:
    """Write results/<run>/archive.zip; return its path and the bytes of each part, of those left out too.

    root: the project's folder, a git clone. optional: which of `OPTIONAL` go in.
    Raises OnemaskError when the run is not finished, or the code that is there is not a commit.
    """
    commit, jobs = read_commit(root), read_jobs(root, run)
    parts = choose(root, run, jobs) | {"code": read_code(root)}
    entries = {name: entry for part in parts if part not in OPTIONAL or part in optional for name, entry in parts[part].items()}
    entries[VERIFY] = parts["code"][f"code/workflow_scripts/{VERIFY}"]
    entries["README.md"] = Entry(README.format(run=run, commit=commit.sha1).encode())
    described = {name: crate.File(entry.sha256(), entry.size) for name, entry in sorted(entries.items())}
    entries[CRATE] = Entry(crate.describe(root, run, commit, jobs, described, versions(root, parts)))
    hashes = {name: file.sha256 for name, file in described.items()} | {CRATE: entries[CRATE].sha256()}
    entries[MANIFEST] = Entry("".join(f"{digest}  {name}\n" for name, digest in sorted(hashes.items())).encode())
    path = root / "results" / run / "archive.zip"
    write_zip(path, entries)
    return path, {part: sum(entry.size for entry in files.values()) for part, files in parts.items()}
