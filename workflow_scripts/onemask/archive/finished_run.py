"""A finished run as Snakemake knows it: its jobs, what each of them read and wrote, when it ended and what it took."""

import csv
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from onemask.io.errors import OnemaskError

# a script that was only touched, as by a fresh clone, makes no job of a run stale: a hash of its content is among its params
TRIGGERS = ("mtime", "params", "input", "software-env")
ENDED = re.compile(r" done in [\d.]+ s, at (\S+)$", re.MULTILINE)  # as job.py logs it


@dataclass(frozen=True)
class Job:
    """inputs, outputs, log: paths from the project's folder; an input outside of `results/` may be absolute."""

    rule: str
    log: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def name(self) -> str:
        """Where the job belongs, its rule and its wildcards, as "demo/smollm2-135m/rome/edit_facts/test/P17"."""
        return self.log.removeprefix("results/").removesuffix(".log").replace("/logs/", "/")

    @property
    def benchmark(self) -> str:
        """Snakemake's measurements of the job; in every rule they lie beside the log."""
        return self.log.removesuffix(".log").replace("/logs/", "/benchmarks/") + ".tsv"


def config_of(run: str) -> str:
    """The file with the run's whole configuration."""
    return f"results/{run}/config.yaml"


def read_jobs(root: Path, run: str) -> list[Job]:
    """All jobs of a run, by log. root: the project's folder.

    Raises OnemaskError when the run has not been finished by the code and configuration that are there.
    """
    expected, remedy = f"a finished run in results/{run}", "Finish it, then call again: snakemake --configfile"
    config = config_of(run)
    if not (root / config).is_file():
        raise OnemaskError(expected, f"no {config}", f"{remedy} config/{run}.yaml")
    command = [sys.executable, "-m", "snakemake", "--configfile", config, "--rerun-triggers", *TRIGGERS, "--detailed-summary"]
    summary = subprocess.run(command, cwd=root, capture_output=True, text=True)
    if summary.returncode:
        raise OnemaskError(expected, f"Snakemake's error: {summary.stderr.strip().splitlines()[-1]}", f"{remedy} {config}")
    rows = list(csv.DictReader(summary.stdout.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE))
    to_do = sorted({row["rule"] for row in rows if row["plan"] != "no update"})
    if to_do:
        named = ", ".join(to_do[:5]) + ", ..." * (len(to_do) > 5)
        raise OnemaskError(expected, f"{len(to_do)} of its rules with jobs to do ({named})", f"{remedy} {config}")
    return _jobs(rows)


def _jobs(rows: list[dict[str, str]]) -> list[Job]:
    """Jobs from Snakemake's summary, in which every row is an output."""
    outputs: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        outputs.setdefault((row["log-file(s)"], row["rule"], row["input-file(s)"]), []).append(row["output_file"])
    return [
        Job(rule, log, tuple(path for path in sorted(inputs.split(",")) if path not in ("", "-")), tuple(sorted(paths)))
        for (log, rule, inputs), paths in sorted(outputs.items())
    ]


def read_usage(root: Path, job: Job) -> dict[str, str]:
    """A job's benchmark by column, as s (wall clock) or max_rss (MiB)."""
    (row,) = csv.DictReader((root / job.benchmark).read_text(encoding="utf-8").splitlines(), delimiter="\t")
    return row


def read_end(root: Path, job: Job) -> str | None:
    """When the job ended, ISO 8601; None where its log does not say."""
    log = root / job.log
    times = ENDED.findall(log.read_text(encoding="utf-8", errors="replace")) if log.is_file() else []
    return times[-1] if times else None
