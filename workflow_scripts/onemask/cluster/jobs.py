"""What became of a run's jobs: squeue is asked, then sacct, then what the jobs themselves left.

Takes the place of `check_active_jobs` of Snakemake's SLURM plugin (2.8.0), by which a run waits for ever when SLURM has forgotten
a job, has preempted it, or does not answer five times in a row. Snakemake calls it again and again with the jobs it waits for.
"""

import os
import subprocess
import time
from collections.abc import AsyncIterator
from typing import Any

FIRST, LONGER, LONGEST = 2, 5, 60  # seconds between two questions: after a job has ended, more each time that none has, at most
PATIENCE = 180  # seconds that SLURM may answer and not know a job
ANSWER = 60  # seconds that an answer may take
FAILED = {"BOOT_FAIL", "CANCELLED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT"}
ENDS = dict.fromkeys(sorted(FAILED), "SLURM job {job} ended as {state}.") | {
    "LOST": "onemask: expected squeue or sacct to know SLURM job {job}, or its outputs to be there; found neither "
    f"for {PATIENCE} s. Read its log; started again, the run goes on where it was."
}


def answer(*command: str) -> dict[str, str] | None:
    """States by job that a command of SLURM prints as `job|state`; None where it fails, is not there, or takes too long."""
    try:
        said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=ANSWER).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    lines = [line.strip().split("|") for line in said.splitlines()]
    return {line[0]: line[1].split()[0] for line in lines if len(line) == 2 and line[1]}  # sacct: CANCELLED by <user>


def states_of(run: str, jobs: list[str]) -> tuple[dict[str, str], bool]:
    """States of jobs that run under a name, and whether SLURM answered at all.

    Of jobs that squeue does not list any longer, sacct says how they ended, where there is accounting. What it calls running is
    not believed: its database keeps jobs so whose end it missed.
    """
    listed = answer("squeue", "--noheader", "--states=all", "--format=%i|%T", "--name", run)
    states = listed or {}
    if gone := [job for job in jobs if job not in states]:
        ended = answer("sacct", "-X", "--noheader", "--parsable2", "--format=JobIDRaw,State", "--jobs", ",".join(gone))
        states |= {job: state for job, state in (ended or {}).items() if job in gone and state in {"COMPLETED", *FAILED}}
    return states, listed is not None


def left_whole(job: Any) -> bool:
    """Did a job of Snakemake (or every job of a group) start, and are all its outputs there?

    A job takes its old outputs away when it starts, and writes new ones under a temporary name. Until then Snakemake's record of
    the outputs as incomplete bears the SLURM job's number.
    """
    parts = list(job) if job.is_group() else [job]
    started = not any(part.dag.workflow.persistence.external_jobids(part) for part in parts)
    return started and all(os.path.exists(path) for part in parts for path in part.output)


async def check_active_jobs(executor: Any, active_jobs: list) -> AsyncIterator:
    """Report the jobs that have ended, and give back those to ask for again.

    executor: the plugin's; active_jobs: Snakemake's records of submitted jobs. A job that SLURM does not know for `PATIENCE`
    seconds has ended well if it left all its outputs, else it has failed. While SLURM does not answer, nothing is concluded.
    """
    states, answered = states_of(executor.run_uuid, [job.external_jobid for job in active_jobs]) if active_jobs else ({}, True)
    if not answered:
        executor.logger.warning("squeue does not answer; it is asked again.")
    waiting = 0
    for job in active_jobs:
        state = states.get(job.external_jobid)
        if state or not answered:
            job.aux.pop("unknown since", None)
        elif time.monotonic() - job.aux.setdefault("unknown since", time.monotonic()) > PATIENCE:
            state = "COMPLETED" if left_whole(job.job) else "LOST"
        if state == "COMPLETED":
            executor.report_job_success(job)
        elif state in ENDS:
            said = ENDS[state].format(job=job.external_jobid, state=state)
            executor.report_job_error(job, msg=f"{said} ", aux_logs=[str(job.aux["slurm_logfile"])])
        else:
            waiting += 1
            yield job
    pause = min(executor.next_seconds_between_status_checks + LONGER, LONGEST)
    executor.next_seconds_between_status_checks = pause if waiting == len(active_jobs) > 0 else FIRST
