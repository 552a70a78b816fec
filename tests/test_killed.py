"""SIGKILL in the middle of every stage, and a second run beside the first: in the end, the bytes of a run left alone."""

import json
import time
from pathlib import Path

import pytest

from conftest import copy_of_project, snakemake
from killing import STAGES, begun, kill, start
from test_slurm import CORE, unlike, unmet

TARGET = "results/test/tiny-gpt2/rome/shared/seed0/reversal/test.parquet"
LOCKED = "Directory cannot be locked"


def test_the_run_was_killed_in_every_stage_and_left_nothing_behind(project):
    assert set(json.loads((project.parent / "run.done").read_text())) == STAGES
    assert not [path for path in (project / "results").rglob("*") if path.name.endswith(".batches") or ".tmp" in path.name]


@pytest.mark.skipif(not unmet(), reason="test_slurm.py compares it with a run through SLURM")
def test_it_ended_with_the_bytes_of_a_run_left_alone(project, tmp_path):
    alone = copy_of_project(tmp_path)
    snakemake(alone, *CORE)
    assert unlike(alone, project) == []


def refused(project: Path) -> bool:
    run = snakemake(project, TARGET, check=False)
    said = run.stdout + run.stderr
    return run.returncode == 1 and LOCKED in said and "--unlock" in said


def test_a_second_run_is_refused_and_so_is_one_after_a_kill_until_it_is_unlocked(project):
    before = (project / TARGET).read_bytes()
    (project / TARGET).unlink()
    since, first = time.time(), start(project, TARGET)
    while not begun(project, since):
        assert first.poll() is None
        time.sleep(0.05)
    assert refused(project)
    assert first.poll() is None
    kill(first)
    assert refused(project)
    snakemake(project, "--unlock")
    snakemake(project, TARGET)
    assert (project / TARGET).read_bytes() == before
    snakemake(project, "--touch")
