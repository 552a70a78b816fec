"""A run that is killed in the middle of every stage, and started again until it is done."""

import contextlib
import random
import subprocess
import sys
import time
from pathlib import Path

import psutil

STAGES = {
    *("measure_knowledge", "make_templates", "measure_second_moments", "edit_facts", "train_mask"),
    *("measure_reversal", "measure_blocking", "measure_perplexity", "measure_decomposition"),
}


def command(*arguments: str, config: str = "test") -> list[str]:
    """`snakemake` as a user calls it, with a file of config/."""
    return [sys.executable, "-m", "snakemake", *arguments, "--configfile", f"config/{config}.yaml", "--cores", "2"]


def start(project: Path, *arguments: str) -> subprocess.Popen:
    said = (project / "said.txt").open("a")
    return subprocess.Popen(command(*arguments), cwd=project, stdout=said, stderr=said)


def kill(run: subprocess.Popen) -> None:
    """SIGKILL for a run and all its jobs."""
    for process in [*psutil.Process(run.pid).children(recursive=True), run]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    run.wait()


def begun(project: Path, since: float) -> dict[str, list[Path]]:
    """Logs that jobs have opened since a moment, by stage."""
    found: dict[str, list[Path]] = {}
    for log in (project / "results").rglob("logs/**/*.log"):
        for stage in {part.removesuffix(".log") for part in log.parts} & STAGES:
            if log.stat().st_mtime > since:
                found.setdefault(stage, []).append(log)
    return found


def kill_in_stages(project: Path, left: set[str], moment: float) -> set[str]:
    """Start a run and kill it a moment after it began one of the stages `left`; those it was in, none where it ended before."""
    since, run = time.time(), start(project, "--nolock")
    while run.poll() is None:
        if left & set(begun(project, since)):
            time.sleep(moment)
            kill(run)
            unfinished = {
                stage for stage, logs in begun(project, since).items() if any("done in" not in log.read_text() for log in logs)
            }
            assert left & unfinished, f"killed too late to be in the middle of one of {left}"
            return left & unfinished
        time.sleep(0.1)
    assert run.returncode == 0, (project / "said.txt").read_text()[-6000:]
    return set()


def run_and_kill(project: Path) -> list[str]:
    """Run config/test.yaml to the end, killed in the middle of every stage; the stages."""
    chosen, killed = random.Random(0), set()
    while stages := kill_in_stages(project, STAGES - killed, chosen.uniform(0, 1.5)):
        killed |= stages
    return sorted(killed)
