"""Check an archive of onemask: every file against its SHA-256, then every figure against itself, drawn anew from its tables.

    python verify.py

It lies at the root of the archive, needs Python with the packages of code/envs/figures.yaml, no model and no network, and
writes to a temporary folder alone. Exit status 0 where all is as it was archived, else 1, with every difference named.
"""

import hashlib
import importlib
import json
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path
from types import SimpleNamespace

HERE = Path(__file__).resolve().parent
SUFFIXES = {"pdf": ".pdf", "png": ".png", "record": ".json"}  # what draw_figure.py writes

sys.path.insert(0, str(HERE / "code" / "workflow_scripts"))
sys.dont_write_bytecode = True


class Named(dict):
    """Entries that can also be read as attributes, as Snakemake hands them to a script."""

    __getattr__ = dict.__getitem__


def check_files() -> tuple[int, list[str]]:
    """The number of files in the manifest, and what is wrong with any."""
    lines = (HERE / "manifest-sha256.txt").read_text(encoding="utf-8").splitlines()
    wrong = []
    for digest, name in (line.split("  ", 1) for line in lines):
        if not (HERE / name).is_file():
            wrong.append(f"missing: {name}")
        elif hashlib.sha256((HERE / name).read_bytes()).hexdigest() != digest:
            wrong.append(f"changed: {name}")
    return len(lines), wrong


def draw(made: dict, output: Named) -> None:
    """Draw a figure by the archived code, from its record."""
    found = {
        kind: str(HERE / paths) if isinstance(paths, str) else [str(HERE / path) for path in paths]
        for kind, paths in made["input"].items()
    }
    importlib.import_module("draw_figure").main(SimpleNamespace(input=Named(found), params=Named(made["params"]), output=output))


def check_figure(record: Path, folder: str) -> list[str]:
    """Draw the figure of a record into `folder`; which of its files differ from the archive's, and by which libraries."""
    made = json.loads(record.read_text(encoding="utf-8"))
    output = Named({kind: Path(folder, record.stem + suffix) for kind, suffix in SUFFIXES.items()})
    try:
        draw(made, output)
    except ImportError:
        raise
    except Exception as error:
        return [f"cannot be drawn: {record.relative_to(HERE)}: {error}"]
    here = json.loads(output.record.read_text(encoding="utf-8"))["versions"]
    others = [f"{name} {here[name]} instead of {version}" for name, version in made["versions"].items() if here[name] != version]
    drawn = {record.with_suffix(path.suffix): path for kind, path in output.items() if kind != "record"}
    return [
        f"differs: {archived.relative_to(HERE)}, drawn with {', '.join(others) or 'the same libraries'}"
        for archived, path in drawn.items()
        if path.read_bytes() != archived.read_bytes()
    ]


def check_figures() -> tuple[int, list[str]]:
    """The number of figures, and what is wrong with any."""
    records, wrong = sorted(HERE.glob("results/*/figures/*.json")), []
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor() as pool:
        for record, found in zip(records, pool.map(check_figure, records, repeat(folder)), strict=True):
            print(f"{record.stem}: {'DIFFERENT' if found else 'identical'}", flush=True)
            wrong += found
    return len(records), wrong


def main() -> None:
    files, wrong = check_files()
    if wrong:  # code of an archive that was changed is not run
        sys.exit("\n".join([*wrong, f"{len(wrong)} of {files} files are not as they were archived"]))
    print(f"{files} files are as they were archived; drawing the figures", flush=True)
    figures, wrong = check_figures()
    if wrong:
        sys.exit("\n".join([*wrong, f"{files} files verified; of {figures} figures, {len(wrong)} files differ"]))
    print(f"{files} files verified, {figures} figures identical")


if __name__ == "__main__":
    try:
        main()
    except ModuleNotFoundError as error:
        sys.exit(f"expected the packages of code/envs/figures.yaml; found no {error.name}. Install them (README.md says how).")
