"""The shipped SLURM profile on a cluster of this machine: the local run's bytes, killed jobs again, a drained node.

`make test` sends the way of ROME's edits through SLURM, `make test-slurm` all of config/test.yaml (ONEMASK_SLURM=all).
"""

import contextlib
import functools
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from conftest import ROOT, copy_of_project, snakemake
from killing import command

CLUSTER = ROOT / "profiles" / "slurm" / "one_machine.sh"
METHOD = "results/test/tiny-gpt2/rome"
MASKED = f"{METHOD}/shared/seed0"
CORE = [f"{MASKED}/blocking/0.parquet", f"{MASKED}/reversal/test.parquet", f"{METHOD}/measures/editing/test.parquet"]
TEMPLATES = "results/test/tiny-gpt2/templates.parquet"
RESULTS = (".parquet", ".safetensors", ".csv", ".md", ".pdf", ".png")


def unmet() -> str | None:
    """Why there can be no cluster here."""
    if os.getuid():
        return "SLURM is started by root"
    if (conf := Path("/etc/slurm/slurm.conf")).exists() and "one_machine.sh" not in conf.read_text():
        return "this machine has a SLURM of its own"
    missing = [name for name in ("munged", "slurmctld", "slurmd", "sbatch") if not shutil.which(name)]
    return f"no {', '.join(missing)}: they come from Debian where apt-get can be used" if missing else None


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    if unmet():
        pytest.skip(unmet())
    subprocess.run([CLUSTER, "start"], check=True)
    yield
    subprocess.run([CLUSTER, "stop"], check=True)


@pytest.fixture(scope="module")
def submitted(cluster, tmp_path_factory) -> Path:
    """A project whose run went through SLURM."""
    project = copy_of_project(tmp_path_factory.mktemp("submitted"))
    snakemake(project, *([] if os.environ.get("ONEMASK_SLURM") == "all" else CORE), "--profile", "slurm")
    return project


def slurm(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def wait_for(found: Callable[[], object], what: str, seconds: int = 120) -> object:
    for _ in range(seconds * 5):
        if answer := found():
            return answer
        time.sleep(0.2)
    raise AssertionError(f"no {what} within {seconds} s")


def jobs(state: str) -> list[str]:
    return slurm("squeue", "-h", "-t", state, "-o", "%A").split()


def asked_for(job: str) -> dict[str, str]:
    """What `scontrol` knows of a job."""
    return dict(re.findall(r"(\S+?)=(\S+)", slurm("scontrol", "show", "job", job)))


@contextlib.contextmanager
def started(project: Path, target: str, *arguments: str) -> Iterator[subprocess.Popen]:
    """`snakemake --profile slurm` of a target, with the inputs of an earlier run."""
    said = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    hears = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # what a shell runs in the background ignores Ctrl-C
    with subprocess.Popen(
        command(target, "--profile", "slurm", "--force", *arguments), cwd=project, preexec_fn=hears, **said
    ) as run:
        try:
            yield run
        finally:
            run.kill()


def test_the_profile_asks_for_a_gpu_where_a_model_runs():
    """Every rule whose jobs take a torch device, and no other; what is not submitted needs none."""
    profile = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text(encoding="utf-8"))
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "rules").glob("*.smk")))
    rules = {match[1]: match[2] for match in re.finditer(r"^rule (\w+):\n((?:(?: {4}.*)?\n)+)", text, re.M)}
    rules |= {f"measure_{way}": "device=" for way in ("decomposition", "activations", "attention", "patching")}  # made in a loop
    with_device = {name for name, body in rules.items() if "device=" in body}
    assert set(profile["set-resources"]) == with_device
    assert not [name for name in with_device if "localrule: True" in rules[name]]
    assert len({str(asked) for asked in profile["set-resources"].values()}) == 1


def test_jobs_of_models_were_submitted_and_small_ones_were_not(submitted):
    logs = {path.relative_to(submitted / "results/slurm").parts[0] for path in (submitted / "results/slurm").rglob("*.log")}
    assert {"rule_edit_facts", "rule_train_mask", "rule_measure_reversal"} <= logs
    assert not logs & {"rule_prepare_facts", "rule_summarise_editing", "rule_fetch_model"}


def test_a_job_asks_for_a_gpu_and_killed_it_comes_again_with_twice_the_memory_and_time(submitted):
    before = (submitted / TEMPLATES).read_bytes()
    with started(submitted, TEMPLATES) as run:
        (first,) = wait_for(lambda: jobs("RUNNING"), "running job")
        slurm("scancel", "--signal=KILL", "--full", first)
        second = wait_for(lambda: [job for job in jobs("PENDING,RUNNING") if job != first], "second attempt")[0]
        said, _ = run.communicate(timeout=180)
    assert run.returncode == 0 and "Trying to restart job" in said, said
    assert asked_for(first)["TresPerJob"] == "gres:gpu:1" and asked_for(first)["Partition"] == "gpu"
    memory = [int(asked_for(job)["MinMemoryNode"].rstrip("M")) for job in (first, second)]
    hours = [int(asked_for(job)["TimeLimit"].split(":")[0]) for job in (first, second)]
    assert memory[1] == 2 * memory[0] and hours[1] == 2 * hours[0] > 0
    assert (submitted / TEMPLATES).read_bytes() == before


def test_a_failed_job_names_its_logs_and_says_why(submitted):
    identity = submitted / "results/assets/models/tiny-gpt2/onemask.json"
    content = identity.read_bytes()
    identity.write_bytes(b"broken")
    try:
        run = snakemake(submitted, TEMPLATES, "--force", "--profile", "slurm", "--retries", "0", check=False)
    finally:
        identity.write_bytes(content)
    said = run.stdout + run.stderr
    assert run.returncode == 1 and "expected a model folder with onemask.json" in said
    assert re.search(r"log: results/test/tiny-gpt2/logs/make_templates.log, .*/results/slurm/rule_make_templates/.*\.log", said)


def test_on_a_drained_node_a_run_waits_and_slurm_says_why(submitted):
    node = slurm("hostname", "-s").strip()
    slurm("scontrol", "update", f"nodename={node}", "state=drain", "reason=maintenance")
    try:
        with started(submitted, TEMPLATES) as run:
            (job,) = wait_for(lambda: jobs("PENDING"), "waiting job")
            wait_for(lambda: "DRAINED" in slurm("squeue", "-h", "-j", job, "-o", "%R"), "reason")
            run.send_signal(signal.SIGINT)
            said, _ = run.communicate(timeout=60)
    finally:
        slurm("scontrol", "update", f"nodename={node}", "state=resume")
    assert run.returncode != 0 and "has been submitted with SLURM jobid" in said
    assert asked_for(job)["JobState"] == "CANCELLED"  # nothing is left in the queue


@pytest.fixture
def forgetful(submitted) -> Iterator[Path]:
    """The project on a SLURM that forgets a job two seconds after its end; runs lose patience after as many."""
    configuration, module = Path("/etc/slurm/slurm.conf"), submitted / "workflow_scripts/onemask/cluster/jobs.py"
    before = {path: path.read_text() for path in (configuration, module)}
    configuration.write_text(f"{before[configuration]}MinJobAge=2\n")
    module.write_text(before[module].replace("PATIENCE = 180", "PATIENCE = 2"))
    assert module.read_text() != before[module]
    slurm("scontrol", "reconfigure")
    try:
        yield submitted
    finally:
        for path, content in before.items():
            path.write_text(content)
        slurm("scontrol", "reconfigure")


@pytest.mark.parametrize("ended", ["well", "not at all"])
def test_a_job_that_slurm_has_forgotten_ends_as_its_outputs_say(forgetful, ended):
    """Snakemake is stopped until then; a job that is cancelled before it begins leaves the old output where it is."""
    node = slurm("hostname", "-s").strip()
    if ended == "not at all":
        slurm("scontrol", "update", f"nodename={node}", "state=drain", "reason=maintenance")
    try:
        with started(forgetful, TEMPLATES, "--retries", "0") as run:
            (job,) = wait_for(lambda: jobs("PENDING,RUNNING"), "job")
            time.sleep(2)  # in which Snakemake hears of its number
            run.send_signal(signal.SIGSTOP)
            if ended == "not at all":
                slurm("scancel", job)
            wait_for(lambda: job not in jobs("all"), "forgotten job", 240)
            run.send_signal(signal.SIGCONT)
            said, _ = run.communicate(timeout=180)
    finally:
        if ended == "not at all":
            slurm("scontrol", "update", f"nodename={node}", "state=resume")
    lost = f"expected squeue or sacct to know SLURM job {job}, or its outputs to be there; found neither"
    assert (run.returncode, lost in said) == ((0, False) if ended == "well" else (1, True)), said
    assert (forgetful / TEMPLATES).exists() == (ended == "well")


def test_after_a_killed_head_its_jobs_are_cancelled_and_the_folder_is_unlocked(submitted):
    cancel = [submitted / "profiles/slurm/cancel.sh"]
    with started(submitted, TEMPLATES):
        wait_for(lambda: jobs("RUNNING"), "running job")
    refused = snakemake(submitted, TEMPLATES, "--force", check=False)
    assert refused.returncode == 1 and "Directory cannot be locked" in refused.stdout + refused.stderr
    subprocess.run([*cancel, "demo"], cwd=submitted, check=True)
    assert jobs("PENDING,RUNNING,COMPLETING"), "another run's jobs were left alone"
    subprocess.run([*cancel, "test"], cwd=submitted, check=True)
    assert not jobs("PENDING,RUNNING,COMPLETING")
    snakemake(submitted, "--unlock")
    snakemake(submitted, TEMPLATES, "--profile", "slurm")


def test_many_small_jobs_go_as_one_which_asks_for_one_gpu(submitted):
    edits = [f"{METHOD}/edits/train/{chunk}.parquet" for chunk in (0, 1)]
    before = [(submitted / path).read_bytes() for path in edits]
    (groups,) = re.findall(r"`(--groups edit_facts.*?)`", (ROOT / "docs/cluster.md").read_text(encoding="utf-8"))
    groups = groups.replace("edits=10", "edits=2").split()
    run = snakemake(submitted, *edits, "--force", "--profile", "slurm", *groups)
    (job,) = re.findall(r"has been submitted with SLURM jobid (\d+)", run.stdout + run.stderr)
    assert asked_for(job)["TresPerJob"] == "gres:gpu:1"
    assert [(submitted / path).read_bytes() for path in edits] == before


def unlike(one: Path, other: Path) -> list[Path]:
    """Results of one run that differ in another's, which has more."""
    found = [path.relative_to(one) for path in (one / "results").rglob("*") if path.suffix in RESULTS]
    assert set(map(str, found)) >= set(CORE)
    return [path for path in found if (one / path).read_bytes() != (other / path).read_bytes()]


def test_results_are_those_of_a_local_run_that_was_killed_in_every_stage(submitted, project):
    """Comes last: the local run takes as long as all the others here."""
    assert unlike(submitted, project) == []
