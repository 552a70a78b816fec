"""What differs between sites: where the clone lies, what the profile asks for, what a head of one core and a pin file do."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from conftest import ROOT
from onemask.config.place import check_easyeditor, check_interpreter, check_pins
from onemask.io.errors import OnemaskError

PAGE = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
PROFILE = (ROOT / "profiles" / "slurm" / "config.yaml").read_text(encoding="utf-8")
VARIANTS = sorted(set(re.findall(r"&gpu (\{.+?\})", PAGE + PROFILE)))


@pytest.mark.parametrize("folder", ["/work/one mask", "/home/o'neil/onemask", '/a"b', "/a$b", "/a&b", "/a(1)", "/a\tb", "/a;b"])
def test_a_path_that_a_shell_splits_or_reads_is_refused(folder):
    with pytest.raises(OnemaskError, match="expected a path to Python without blanks.*Move the clone"):
        check_interpreter(f"{folder}/.venv/bin/python")


@pytest.mark.parametrize("folder", ["/work/onemask-1.0", "/home/jörg/onemask", "/a+b,c=d@e:f_g%h~i"])
def test_other_paths_are_taken(folder):
    check_interpreter(f"{folder}/.venv/bin/python")


def test_easyedits_environment_wants_a_path_without_blanks_too():
    check_easyeditor(Path("/work/onemask"))
    with pytest.raises(OnemaskError, match="found /work/one mask. Add --conda-prefix"):
        check_easyeditor(Path("/work/one mask"))


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("conda"), reason="no conda")
def test_easyedits_environment_is_refused_where_conda_would_make_it_in_a_path_with_a_blank(clone, tmp_path):
    configuration = clone / "config" / "test.yaml"
    text = configuration.read_text(encoding="utf-8")
    (clone / "config").unlink()
    shutil.copytree(ROOT / "config", clone / "config")
    text = text[: text.index("studies:")].replace("compare: [emmet, alphaedit, ft-l]", "editor: easyeditor")
    configuration.write_text(text, encoding="utf-8")
    refused = dry_run(clone, "--sdm", "conda")
    assert refused.returncode == 1 and "one mask. Add --conda-prefix" in refused.stdout + refused.stderr
    taken = dry_run(clone, "--sdm", "conda", "--conda-prefix", str(tmp_path / "environments"))
    assert taken.returncode == 0, taken.stdout + taken.stderr


@pytest.fixture
def clone(tmp_path) -> Path:
    """What `make` and a dry run read, in a folder whose name holds a blank."""
    folder = tmp_path / "one mask"
    folder.mkdir()
    for part in (
        "Makefile",
        "Snakefile",
        "rules",
        "workflow_scripts",
        "config",
        "profiles",
        "slurm",
        "envs",
        "requirements",
        "pyproject.toml",
    ):
        (folder / part).symlink_to(ROOT / part)
    return folder


def test_make_refuses_a_path_with_a_blank_before_it_installs(clone):
    run = subprocess.run(["make", ".venv/.installed", f"PYTHON={sys.executable}"], cwd=clone, capture_output=True, text=True)
    assert run.returncode == 2 and "onemask: expected a path to Python without blanks" in run.stderr
    assert "Traceback" not in run.stderr and not (clone / ".venv").exists()


def dry_run(clone: Path, *arguments: str, python: str = sys.executable, **options) -> subprocess.CompletedProcess:
    command = [python, "-m", "snakemake", "-n", *arguments, "--configfile", "config/test.yaml"]
    return subprocess.run(command, cwd=clone, capture_output=True, text=True, **options)


@pytest.mark.slow
def test_a_run_refuses_an_interpreter_with_a_blank_in_its_path_in_one_line(clone):
    (clone / "venv").mkdir()
    (clone / "venv" / "python").symlink_to(sys.executable)
    site = f"import site; site.addsitedir({str(Path(yaml.__file__).parent.parent)!r})"
    code = f"import runpy, sys; {site}; sys.argv = ['snakemake', '-n', '--configfile', 'config/test.yaml']"
    command = [clone / "venv" / "python", "-c", f"{code}; runpy.run_module('snakemake', run_name='__main__')"]
    run = subprocess.run(command, cwd=clone, capture_output=True, text=True)
    assert run.returncode == 1 and "one mask/venv/python. Move the clone" in run.stdout + run.stderr
    assert "Traceback" not in run.stdout + run.stderr


def test_the_page_names_four_ways_to_ask_for_a_gpu():
    assert len(VARIANTS) == 4, VARIANTS


def asked_for(said: str, rule: str) -> list[str]:
    """All that a dry run says of the jobs of a rule."""
    return re.findall(rf"^rule {rule}:\n((?:    .*\n)*)", said, re.M)


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_each_way_to_ask_for_a_gpu_is_taken(clone, tmp_path, variant):
    shutil.copytree(ROOT / "profiles" / "slurm", tmp_path / "site")
    changed = re.sub(r"&gpu \{.+?\}\n", f"&gpu {variant}\n", PROFILE)
    (tmp_path / "site" / "config.yaml").write_text(changed, encoding="utf-8")
    run = dry_run(clone, "--profile", str(tmp_path / "site"))
    assert run.returncode == 0, run.stdout + run.stderr
    for rule in ("edit_facts", "train_mask"):
        for key, value in yaml.safe_load(variant).items():
            assert all(f"{key}={value}" in job for job in asked_for(run.stdout, rule)), (rule, key)


@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "cores"), [((), 2), (("--cores", "all"), 1)])
def test_a_head_of_one_core_does_not_take_a_core_from_the_masks_it_submits(clone, arguments, cores):
    run = dry_run(
        clone, "--profile", "slurm", *arguments, preexec_fn=lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    )
    (job,) = [job for job in asked_for(run.stdout, "train_mask") if "model=tiny-gpt2, method=rome, mask=shared" in job]
    assert ("threads: 2" in job) == (cores == 2)


@pytest.mark.slow
def test_waiting_jobs_are_asked_for_by_our_own_question(clone):
    """The plugin's class is still there under its name, and holds the method that the Snakefile puts in its place."""
    told = "import sys; print(sys.modules['snakemake_executor_plugin_slurm'].Executor.check_active_jobs.__module__)"
    text = (ROOT / "Snakefile").read_text(encoding="utf-8")
    (clone / "Snakefile").unlink()
    (clone / "Snakefile").write_text(f"{text}\n\n{told}\n", encoding="utf-8")
    assert "onemask.cluster.jobs" in dry_run(clone, "--profile", "slurm").stdout.splitlines()


def test_no_pin_file_lies_beside_the_environments_and_one_is_refused(tmp_path):
    check_pins(ROOT / "envs")
    (tmp_path / "model.linux-64.pin.txt").write_text("@EXPLICIT\n")
    with pytest.raises(OnemaskError, match=r"found model\.linux-64\.pin\.txt.*Delete"):
        check_pins(tmp_path)
