"""Jobs on a cluster, by stand-ins for squeue and sacct: how each ends, and that no run waits for ever."""

import asyncio
import logging
import os
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from conftest import ROOT
from onemask.cluster import jobs
from onemask.cluster.jobs import check_active_jobs


class Job:
    """A job of Snakemake: its outputs, and the SLURM job that its outputs are recorded under until it starts."""

    def __init__(self, outputs: list[Path], recorded: set[str]):
        persistence = SimpleNamespace(external_jobids=lambda job: recorded)
        self.output, self.dag = outputs, SimpleNamespace(workflow=SimpleNamespace(persistence=persistence))

    def is_group(self) -> bool:
        return False


class Executor:
    """What of the plugin's executor is used: a name, a pause, and what was reported."""

    def __init__(self):
        self.run_uuid, self.next_seconds_between_status_checks, self.ended = "the-run", 10, {}
        self.logger = logging.getLogger("executor")

    def report_job_success(self, info) -> None:
        self.ended[info.external_jobid] = "success"

    def report_job_error(self, info, msg, aux_logs) -> None:
        self.ended[info.external_jobid] = msg
        assert aux_logs == ["job.log"]


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Writes stand-ins for SLURM's commands, the only ones there are."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    def write(**scripts: str) -> None:
        (tmp_path / "bin").mkdir(exist_ok=True)
        for old in (tmp_path / "bin").iterdir():
            old.unlink()
        for name, script in scripts.items():
            (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
            (tmp_path / "bin" / name).chmod(0o755)

    return write


def submitted(number: str, outputs: list[Path] | None = None, recorded: set[str] | None = None):
    job = Job(outputs or [], {number} if recorded is None else recorded)
    return SimpleNamespace(job=job, external_jobid=number, aux={"slurm_logfile": Path("job.log")})


def ask(executor: Executor, active: list) -> list[str]:
    """Numbers of the jobs that are waited for."""

    async def collect() -> list:
        return [info.external_jobid async for info in check_active_jobs(executor, active)]

    return asyncio.run(collect())


NO_ACCOUNTING = "echo 'Slurm accounting storage is disabled' >&2; exit 1"
RUNNING = ["PENDING", "RUNNING", "COMPLETING", "SUSPENDED", "CONFIGURING"]


@pytest.mark.parametrize("state", [*RUNNING, "COMPLETED", *sorted(jobs.FAILED)])
def test_a_job_ends_as_squeue_says(commands, state):
    commands(squeue=f"echo '7|{state}'", sacct="echo sacct >> asked; exit 1")
    executor = Executor()
    waiting = ask(executor, [submitted("7")])
    assert waiting == (["7"] if state in RUNNING else [])
    expected = {"COMPLETED": "success", **dict.fromkeys(RUNNING)}.get(state, f"SLURM job 7 ended as {state}. ")
    assert executor.ended.get("7") == expected


@pytest.mark.parametrize(
    ("state", "ended"),
    [
        ("COMPLETED", "success"),
        ("CANCELLED by 1000", "SLURM job 7 ended as CANCELLED. "),
        ("PREEMPTED", "PREEMPTED"),
        ("RUNNING", None),
    ],
)
def test_a_job_that_squeue_has_forgotten_ends_as_sacct_says_but_does_not_run_on(commands, state, ended):
    commands(squeue="echo '8|RUNNING'", sacct=f"[ $6 = 7 ] && echo '7|{state}'")
    executor = Executor()
    assert ask(executor, [submitted("7"), submitted("8")]) == ([] if ended else ["7"]) + ["8"]
    assert (ended or "") in executor.ended.get("7", "")


@pytest.fixture
def later(monkeypatch):
    """A clock that is put forward by hand."""
    clock = [0.0]
    monkeypatch.setattr(jobs.time, "monotonic", lambda: clock[0])

    def forward(seconds: float) -> None:
        clock[0] += seconds

    return forward


@pytest.mark.parametrize("accounting", [NO_ACCOUNTING, "exit 0", "echo '7|RUNNING'", None])
def test_a_job_that_nothing_knows_is_waited_for_some_minutes_and_no_longer(commands, later, tmp_path, accounting):
    commands(squeue="exit 0", **({"sacct": accounting} if accounting else {}))
    there, missing = tmp_path / "there", tmp_path / "missing"
    there.write_text("")
    executor = Executor()
    active = [submitted("7", [there], set()), submitted("8", [there, missing], set()), submitted("9", [there], {"9"})]
    assert ask(executor, active) == ["7", "8", "9"]
    later(jobs.PATIENCE)
    assert ask(executor, active) == ["7", "8", "9"] and not executor.ended
    later(1)
    assert ask(executor, active) == []
    assert executor.ended["7"] == "success"  # all its outputs are there, and it took the old ones away when it started
    for lost in ("8", "9"):  # one output is missing; it never started, and what is there is old
        assert re.search(rf"expected squeue or sacct to know SLURM job {lost}.*found neither", executor.ended[lost])


class Group(tuple):
    """Jobs of Snakemake that one SLURM job works at."""

    def is_group(self) -> bool:
        return True


@pytest.mark.parametrize(("second", "ended"), [("there", "success"), ("missing", "onemask: expected squeue")])
def test_a_forgotten_group_has_ended_well_if_all_its_jobs_have(commands, later, tmp_path, second, ended):
    commands(squeue="exit 0")
    (tmp_path / "there").write_text("")
    executor, info = Executor(), submitted("7")
    info.job = Group(Job([tmp_path / name], set()) for name in ("there", second))
    ask(executor, [info])
    later(jobs.PATIENCE + 1)
    assert ask(executor, [info]) == [] and executor.ended["7"].startswith(ended)


def test_while_slurm_does_not_answer_nothing_is_concluded(commands, later, caplog):
    executor, active = Executor(), [submitted("7")]
    commands(squeue="exit 0", sacct=NO_ACCOUNTING)
    assert ask(executor, active) == ["7"]
    for _ in range(12):
        commands(squeue="echo 'slurm_load_jobs error: Socket timed out' >&2; exit 1", sacct=NO_ACCOUNTING)
        later(jobs.PATIENCE)
        assert ask(executor, active) == ["7"]
    assert caplog.text.count("squeue does not answer") == 12
    commands(squeue="exit 0", sacct=NO_ACCOUNTING)
    assert ask(executor, active) == ["7"] and not executor.ended  # the wait begins anew


def test_a_job_that_comes_back_is_waited_for_anew(commands, later):
    executor, active = Executor(), [submitted("7")]
    for squeue in ("exit 0", "echo '7|RUNNING'", "exit 0"):
        commands(squeue=squeue)
        assert ask(executor, active) == ["7"]
        later(jobs.PATIENCE)
    assert not executor.ended


def test_a_command_that_hangs_is_no_answer(commands, monkeypatch):
    monkeypatch.setattr(jobs, "ANSWER", 0.2)
    commands(squeue="while true; do :; done")
    executor = Executor()
    assert ask(executor, [submitted("7")]) == ["7"]


def test_questions_become_rarer_until_a_job_ends(commands):
    executor, pauses = Executor(), []
    commands(squeue="echo '7|RUNNING'")
    for _ in range(20):
        ask(executor, [submitted("7")])
        pauses.append(executor.next_seconds_between_status_checks)
    assert pauses[:2] == [15, 20] and pauses[-1] == jobs.LONGEST
    commands(squeue="echo '7|COMPLETED'")
    ask(executor, [submitted("7")])
    assert executor.next_seconds_between_status_checks == jobs.FIRST


def test_without_jobs_slurm_is_not_asked(commands, tmp_path):
    commands(squeue=f"echo > {tmp_path / 'asked'}")
    assert ask(Executor(), []) == [] and not (tmp_path / "asked").exists()


RUNS = {"demo": "1111-aa", "paper": "2222-bb", "my_paper": "3333-cc"}


def cancelled(folder: Path, run: str, squeue: str) -> tuple[int, str]:
    """Exit status of cancel.sh for a run, in a folder with logs of RUNS and of one without SLURM, and what it told scancel."""
    logs = folder / ".snakemake" / "log"
    logs.mkdir(parents=True)
    for name, number in RUNS.items():
        said = f"  Command: .venv/bin/snakemake --profile slurm --configfile config/{name}.yaml\nSLURM run ID: {number}\n"
        (logs / f"{name}.snakemake.log").write_text(said)
    (logs / "local.snakemake.log").write_text("  Command: snakemake --configfile config/local.yaml\n")
    for name, script in {"scancel": 'echo "$@" > told', "squeue": squeue}.items():
        (folder / "bin").mkdir(exist_ok=True)
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / "bin" / name).chmod(0o755)
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    done = subprocess.run(
        [ROOT / "profiles/slurm/cancel.sh", run], cwd=folder, env=os.environ | {"PATH": path}, capture_output=True
    )
    told = folder / "told"
    return done.returncode, told.read_text() if told.exists() else ""


@pytest.mark.parametrize(
    ("run", "told"), [("paper", "--name=2222-bb\n"), ("demo", "--name=1111-aa\n"), ("local", ""), ("none", "")]
)
def test_what_a_run_left_is_cancelled_by_its_name_and_waited_for(tmp_path, run, told):
    squeue = "[ -e asked ] || echo '7 COMPLETING'; touch asked"
    assert cancelled(tmp_path, run, squeue) == (0, told)
    assert (tmp_path / "asked").exists() == bool(told)


def test_a_queue_that_cannot_be_asked_stops_before_anything_is_unlocked(tmp_path):
    assert cancelled(tmp_path, "paper", "exit 1") == (1, "--name=2222-bb\n")
    steps = subprocess.run(
        ["make", "--no-print-directory", "-n", "unlock", "RUN=paper"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    assert steps[-2:] == ["profiles/slurm/cancel.sh paper", ".venv/bin/snakemake --unlock --configfile config/paper.yaml"]
