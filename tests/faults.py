"""How a test meets a fault as a user does: through `snakemake`, through a rule's script, through the command `onemask`."""

import contextlib
import io
import logging
import re
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
from snakemake import cli as snakemake_cli
from snakemake.iocontainers import Namedlist

import job
from onemask.commands import cli

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Ended:
    """How a run ended: exit code, all that it said, and the files that are there now and were not before."""

    code: int
    said: str
    left: frozenset[Path]


def files_in(folder: Path) -> set[Path]:
    """All files but logs and Snakemake's own."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path for path in found if path.suffix != ".log" and ".snakemake" not in path.parts}


def ended(folder: Path, run: Callable[[], None]) -> Ended:
    """Call `run` as a process would run it; `folder`: where it may leave files."""
    before, said = files_in(folder), io.StringIO()
    code: object = 0
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            run()
        except SystemExit as stop:
            code = stop.code or 0
        except Exception:
            traceback.print_exc(file=said)  # so that `refused` shows it
            code = 1
    if not isinstance(code, int):  # sys.exit("text") prints the text and exits with 1
        said.write(f"{code}\n")
        code = 1
    return Ended(code, said.getvalue(), frozenset(files_in(folder) - before))


def snakemake(folder: Path, config: Path, *arguments: str, project: Path = ROOT) -> Ended:
    """`snakemake --configfile config` of a project, with its results below `folder`."""
    where = ["--snakefile", str(project / "Snakefile"), "--directory", str(folder), "--cores", "1", "--quiet", "rules"]
    with contextlib.chdir(folder):  # which Snakemake leaves for another
        return ended(folder, lambda: snakemake_cli.main([*arguments, *where, "--configfile", str(config)]))


def files_named(parts: dict) -> Namedlist:
    """Input or output files as Snakemake gives them: one flat list, lists in it under their name."""
    found = Namedlist()
    for name, value in parts.items():
        start, many = len(found), isinstance(value, list)
        found.extend(map(str, value if many else [value]))
        found._set_name(name, start, end=len(found) if many else None)
    return found


def rule(script: object, folder: Path, **parts: dict) -> Ended:
    """What Snakemake does with a rule's script (a module with `main`); parts: input, output, params, wildcards."""
    named = {part: Namedlist(fromdict=parts.get(part, {})) for part in ("params", "wildcards")}
    named |= {part: files_named(parts.get(part, {})) for part in ("input", "output")}
    smk = SimpleNamespace(rule=script.__name__, log=[str(folder / "job.log")], threads=1, **named)
    root = logging.getLogger()
    before, root.handlers = root.handlers, []
    try:
        return ended(folder, lambda: job.run({"snakemake": smk}, script.main, torch_threads=False))
    finally:
        for handler in root.handlers:
            with contextlib.suppress(OSError):  # of a full disk
                handler.close()
        root.handlers = before


def onemask(folder: Path, *arguments: object) -> Ended:
    """The command `onemask`."""
    return ended(folder, lambda: cli.main([str(argument) for argument in arguments]))


def refused(found: Ended, message: str) -> None:
    """Assert that a run ended with exit code 1, one line of ours that matches `message`, no traceback and nothing left."""
    lines = [line for line in found.said.splitlines() if line.startswith("onemask: ")]
    assert "Traceback" not in found.said and len(lines) == 1, found.said
    assert re.search(message, lines[0]) and re.search(r"expected .+; found .+\. [A-Z\"]", lines[0]), lines[0]
    assert found.code == 1 and not found.left, found


def edits_table(**columns: object) -> pd.DataFrame:
    """An `edits` table with these columns; the others hold what any edit may."""
    scores = dict.fromkeys(("loss", "delta_norm", "truncation", "token_accuracy", "relative_norm", "neutral_kl"), 0.0)
    scores |= {f"logp_{side}_{when}": -1.0 for side in ("true", "new") for when in ("before", "after")}
    texts = {"prompt": "{} lies in", "subject": "Lyon", "target_true": "France", "target_new": "Spain", "verdict": "edited"}
    usual = {"component": 0, "joint": False, "steps": 1, "failure": "", "unstable": False}
    return pd.DataFrame(usual | texts | scores | columns)
