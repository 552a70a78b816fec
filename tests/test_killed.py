"""SIGKILL in the middle of every stage, and a second run beside the first: in the end, the bytes of a run left alone."""

import contextlib
import random
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from conftest import copy_of_project, snakemake

MASKED = "results/test/tiny-gpt2/rome/shared/seed0"
TARGETS = [f"{MASKED}/{name}.parquet" for name in ("reversal/test", "blocking/P17", "perplexity", "decomposition")]
FIRST = {"measure_knowledge", "make_templates", "measure_second_moment", "edit_facts", "train_mask"}
STAGES = FIRST | {"measure_reversal", "measure_blocking", "measure_perplexity", "decompose"}
LOCKED = "Directory cannot be locked"


def start(project: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "snakemake", *TARGETS, "--configfile", "config/test.yaml", "--cores", "1"]
    said = (project / "said.txt").open("a")
    return subprocess.Popen(command, cwd=project, stdout=said, stderr=said)


def logs_since(project: Path, since: float) -> list[Path]:
    return [path for path in (project / "results").rglob("logs/**/*.log") if path.stat().st_mtime > since]


def stages_of(log: Path) -> set[str]:
    return {part.removesuffix(".log") for part in log.parts} & STAGES


def stages_begun(project: Path, since: float) -> set[str]:
    """Stages of which a job has opened its log since a moment."""
    return set().union(*map(stages_of, logs_since(project, since)))


def kill_in_a_stage(project: Path, left: set[str], moment: float) -> str | None:
    """Start a run and kill it with all its jobs a moment after it began one of the stages `left`; None where it ended before."""
    since, run = time.time(), start(project)
    while run.poll() is None:
        if begun := stages_begun(project, since) & left:
            time.sleep(moment)
            finished = [path for path in logs_since(project, since) if begun & stages_of(path) and "done in" in path.read_text()]
            for process in [*psutil.Process(run.pid).children(recursive=True), run]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            run.wait()
            assert not finished, "killed too late to be in the middle"
            return begun.pop()
        time.sleep(0.05)
    return None


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> tuple[Path, set[str]]:
    """A project whose run was killed again and again until it was done, and the stages in which that was."""
    project, chosen, stages = copy_of_project(tmp_path_factory.mktemp("killed")), random.Random(0), set()
    while stage := kill_in_a_stage(project, STAGES - stages, chosen.uniform(0, 3)):
        stages.add(stage)
        snakemake(project, "--unlock")
    return project, stages


def test_a_run_killed_in_every_stage_ends_with_the_bytes_of_one_left_alone(killed, project):
    place, stages = killed
    assert stages == STAGES, (place / "said.txt").read_text()[-3000:]
    found = [path.relative_to(place) for path in (place / "results").rglob("*") if path.suffix in (".parquet", ".safetensors")]
    assert {str(path) for path in found} >= set(TARGETS)
    assert [path for path in found if (place / path).read_bytes() != (project / path).read_bytes()] == []
    assert not [path for path in (place / "results").rglob("*") if path.name.endswith(".batches") or ".tmp" in path.name]


def test_a_second_run_on_the_same_results_is_refused_and_the_first_goes_on(killed):
    place, _ = killed
    for target in TARGETS[:2]:
        (place / target).unlink()
    first, since = start(place), time.time()
    while not stages_begun(place, since):
        assert first.poll() is None
        time.sleep(0.05)
    second = snakemake(place, *TARGETS, check=False)
    said = second.stdout + second.stderr
    assert second.returncode == 1 and LOCKED in said and "--unlock" in said
    assert first.wait() == 0 and all((place / target).exists() for target in TARGETS)
