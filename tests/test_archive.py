"""The reviewers' archive: the same bytes twice, all that verify.py needs, and every change to it found and named."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from rocrate.rocrate import ROCrate

import draw_figure
import make_archive
from conftest import PARTS, ROOT
from onemask.archive import archive, finished_run
from onemask.archive.finished_run import Job
from onemask.io import files
from onemask.io.errors import OnemaskError
from onemask.masking.schemas import MASK_STRUCTURE
from onemask.measuring.schemas import KEY_ENERGY
from verify import SUFFIXES, Named

STRUCTURE = "results/mini/m/rome/shared/seed0/mask_structure.parquet"
MASK = "results/mini/m/rome/shared/seed0/mask.safetensors"
EDITS = "results/mini/m/rome/edits/test/P17.parquet"
TABLE = "results/mini/tables/table1.parquet"
FIGURE = [f"results/mini/figures/figure12{suffix}" for suffix in SUFFIXES.values()]
PAGES = ["results/mini/report.html", "results/mini/config.yaml"]
JOBS = [
    Job("edit_facts", "results/mini/m/rome/logs/edit_facts/test/P17.log", ("facts.csv",), (EDITS,)),
    Job("figure12", "results/mini/logs/figure12.log", (STRUCTURE,), tuple(FIGURE)),
    Job("measure_mask_structure", "results/mini/m/rome/logs/measure_mask_structure/shared/seed0.log", (MASK,), (STRUCTURE,)),
    Job("report", "results/mini/logs/report.log", (TABLE, *FIGURE), tuple(PAGES)),
    Job("table1", "results/mini/logs/table1.log", (STRUCTURE,), (TABLE,)),
    Job("train_mask", "results/mini/m/rome/logs/train_mask/shared/seed0.log", (EDITS,), (MASK,)),
]
GIT = ["git", "-c", "user.name=test", "-c", "user.email=test", "-c", f"core.excludesFile={ROOT / '.gitignore'}"]
# stands in for a machine without network and without packages that are not in envs/figures.yaml
ELSEWHERE = """
import socket, sys

def refuse(*_):
    raise OSError("no network here")

class Lacking:
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "transformers", "safetensors", "snakemake", "rocrate"):
            raise ModuleNotFoundError(f"no {name} here", name=name)

socket.socket.connect = refuse
sys.meta_path.insert(0, Lacking())
"""


def write_results(project: Path) -> None:
    """Files of `JOBS`, in the working directory: a true figure, a true table, stand-ins for the others."""
    for path in [EDITS, MASK, *PAGES, "facts.csv"]:
        files.write_text(path, f"content of {path}\n")
    files.write_text(EDITS, "an edit " * 1000)
    files.write_text(PAGES[1], "run: mini\nmask: {epochs: 8, lr: 0.05}\nmethods: [rome]\n")
    keep = np.random.default_rng(0).random((24, 64)) > np.linspace(0, 0.5, 24)[:, None]
    structure = pd.DataFrame({"dimension": range(24), "pruned": 1 - keep.mean(axis=1), "keep": list(keep)})
    provenance = {"versions": files.installed_versions()}
    files.write_table(STRUCTURE, MASK_STRUCTURE, structure, provenance)
    files.write_table(TABLE, KEY_ENERGY, [{"layer": 0, "common_energy": 0.5, "cosine": 0.1, "subjects": 3}], provenance)
    row = {"model": "m", "method": "rome", "label": "M", "title": "ROME", "split": "test", "layers": [0]}
    params = Named(name="figure12", rows=[row], seed=0, as_released=False, style={}, code="not needed")
    output = Named(zip(SUFFIXES, FIGURE, strict=True))
    draw_figure.main(SimpleNamespace(input=Named(structure=[STRUCTURE]), params=params, output=output))
    for second, job in enumerate(JOBS):
        files.write_text(job.log, f"2026-01-01 01:00:0{second},000 done in 1.5 s, at 2026-01-01T00:00:0{second}+00:00\n")
        files.write_text(job.benchmark, f"s\th:m:s\tmax_rss\tcpu_time\n{second}.5\t0:00:01\t{'NA' if second else 80.25}\t1.25\n")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A clone with a finished run `mini`."""
    project = tmp_path_factory.mktemp("mini") / "one mask"
    for part in ("workflow_scripts", "envs", "requirements"):
        shutil.copytree(ROOT / part, project / part, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.copy(ROOT / "LICENSE", project)
    (project / "Snakefile").write_text("# stands in for the workflow\n")
    with contextlib.chdir(project):
        write_results(project)
    commit(project)
    return project


def commit(project: Path) -> None:
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "All"]):
        subprocess.run([*GIT, *command], cwd=project, check=True)


@pytest.fixture
def mini(finished, monkeypatch) -> Path:
    monkeypatch.setattr(make_archive, "ROOT", finished)
    monkeypatch.setattr(archive, "read_jobs", lambda root, run: JOBS)
    return finished


@pytest.fixture
def unpacked(mini, tmp_path) -> Path:
    make_archive.main(["mini"])
    return unpack(mini / "results/mini/archive.zip", tmp_path / "empty folder")


def unpack(path: Path, folder: Path) -> Path:
    with zipfile.ZipFile(path) as file:
        file.extractall(folder)
    return folder


def verify(folder: Path) -> subprocess.CompletedProcess:
    """`python verify.py`, with neither network nor model, and none of the pipeline's own code in reach."""
    here = folder.parent / "sitecustomize"
    here.mkdir(exist_ok=True)
    (here / "sitecustomize.py").write_text(ELSEWHERE)
    environment = os.environ | {"PYTHONPATH": str(here)}
    return subprocess.run([sys.executable, folder / "verify.py"], cwd=here, env=environment, capture_output=True, text=True)


def names(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as file:
        return file.namelist()


def flip(path: Path) -> None:
    """Change one byte in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def accept(folder: Path, name: str) -> None:
    """Write the file's present hash into the manifest, as whoever changes an archive may."""
    manifest = folder / archive.MANIFEST
    lines = [line for line in manifest.read_text().splitlines() if not line.endswith(f"  {name}")]
    manifest.write_text("\n".join([*lines, f"{files.sha256(folder / name)}  {name}"]) + "\n")


def test_the_same_bytes_twice_whenever_and_wherever_the_files_were_made(mini, tmp_path, monkeypatch):
    make_archive.main(["mini"])
    first = (mini / "results/mini/archive.zip").read_bytes()
    make_archive.main(["mini"])
    assert (mini / "results/mini/archive.zip").read_bytes() == first
    copy = tmp_path / "elsewhere"
    shutil.copytree(mini, copy, copy_function=shutil.copyfile)  # other dates
    (copy / TABLE).chmod(0o600)
    monkeypatch.setattr(make_archive, "ROOT", copy)
    make_archive.main(["mini"])
    assert (copy / "results/mini/archive.zip").read_bytes() == first


def test_all_files_are_verified_and_the_figure_redrawn_without_torch_or_network(unpacked):
    run = verify(unpacked)
    assert run.returncode == 0, run.stdout + run.stderr
    listed = [path for path in unpacked.rglob("*") if path.is_file() and path.name != archive.MANIFEST]
    assert run.stdout.splitlines()[-1] == f"{len(listed)} files verified, 1 figures identical"


def test_a_changed_byte_and_a_missing_file_are_named(unpacked):
    flip(unpacked / TABLE)
    (unpacked / "code/LICENSE").unlink()
    run = verify(unpacked)
    assert run.returncode == 1
    assert {f"changed: {TABLE}", "missing: code/LICENSE"} <= set(run.stderr.splitlines())
    assert "2 of " in run.stderr and "identical" not in run.stdout


@pytest.mark.parametrize("changed", [FIGURE[0], STRUCTURE])
def test_a_figure_that_is_not_what_its_table_draws_is_named_though_the_manifest_agrees(unpacked, changed):
    if changed == STRUCTURE:
        table = files.read_table(unpacked / STRUCTURE, MASK_STRUCTURE)
        files.write_table(unpacked / STRUCTURE, MASK_STRUCTURE, table.assign(pruned=table["pruned"] / 2), {})
    else:
        flip(unpacked / changed)
    accept(unpacked, changed)
    run = verify(unpacked)
    assert run.returncode == 1
    named = [path for path in FIGURE[:2] if f"differs: {path}, drawn with the same libraries" in run.stderr]
    assert named == ([changed] if changed in FIGURE else FIGURE[:2])


def test_another_library_is_named_where_a_figure_differs(unpacked):
    record = unpacked / FIGURE[2]
    made = json.loads(record.read_text())
    made["versions"]["matplotlib"] = "3.0.0"
    record.write_text(json.dumps(made))
    flip(unpacked / FIGURE[1])
    accept(unpacked, FIGURE[1])
    accept(unpacked, FIGURE[2])
    here = draw_figure.versions()["matplotlib"]
    assert f"differs: {FIGURE[1]}, drawn with matplotlib {here} instead of 3.0.0" in verify(unpacked).stderr


def test_a_figure_that_cannot_be_drawn_is_named(unpacked):
    (unpacked / STRUCTURE).write_bytes(b"no Parquet")
    accept(unpacked, STRUCTURE)
    run = verify(unpacked)
    assert run.returncode == 1 and f"cannot be drawn: {FIGURE[2]}: expected a whole Parquet file" in run.stderr


@pytest.mark.parametrize("wanted", [[], ["edits"], ["masks"], ["edits", "masks"]])
def test_edits_and_masks_go_in_when_asked_for_and_their_size_is_printed_always(mini, capsys, wanted):
    make_archive.main(["mini", *(["--with", *wanted] if wanted else [])])
    found = set(names(mini / "results/mini/archive.zip"))
    assert {EDITS, MASK} & found == {{"edits": EDITS, "masks": MASK}[name] for name in wanted}
    printed = capsys.readouterr().out.splitlines()
    for part, size in (("edits", "0.008 MB"), ("masks", "0.000 MB")):
        (line,) = [line for line in printed if line.startswith(part)]
        assert size in line and ("left out" in line) == (part not in wanted)


def test_the_crate_names_hashes_parameters_jobs_timings_and_versions(unpacked):
    crate = ROCrate(unpacked)
    hashes = {unquote(entity.id): entity["sha256"] for entity in crate.get_by_type("File")}
    assert hashes == {name: files.sha256(unpacked / name) for name in hashes}
    packed = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()}
    assert set(hashes) == packed - {archive.CRATE, archive.MANIFEST}
    assert crate.mainEntity.id == "code/Snakefile"
    assert {"https://w3id.org/ro/wfrun/provenance/0.5"} <= {entity.id for entity in crate.root_dataset["conformsTo"]}
    assert crate.get("#value/mask.lr")["value"] == "0.05" and crate.get("#value/methods")["value"] == '["rome"]'
    job = crate.get("#job/mini/figure12")
    assert job["endTime"] == "2026-01-01T00:00:01+00:00" and job["object"].id == STRUCTURE
    assert {entity.id for entity in job["result"]} == set(FIGURE)
    assert {entity["name"]: entity["value"] for entity in job["resourceUsage"]} == {"s": "1.5", "cpu_time": "1.25"}
    left_out = crate.get("#job/mini/m/rome/train_mask/shared/seed0")["result"]
    assert left_out.id == f"#left-out/{MASK}" and left_out["sha256"]
    assert {entity["name"] for entity in crate.mainEntity["softwareRequirements"]} >= {"torch", "matplotlib", "python"}


def test_every_reference_of_the_crate_is_to_something_in_it(unpacked):
    graph = json.loads((unpacked / archive.CRATE).read_text())["@graph"]
    known = {entity["@id"] for entity in graph}
    assert len(known) == len(graph)
    values = [value for entity in graph for value in entity.values()]
    referred = {
        item["@id"] for value in values for item in (value if isinstance(value, list) else [value]) if isinstance(item, dict)
    }
    assert {name for name in referred - known if not name.startswith("https://")} == set()


def test_what_cannot_be_archived_is_said_in_one_line(mini, tmp_path, monkeypatch):
    def said(root: Path) -> str:
        monkeypatch.setattr(make_archive, "ROOT", root)
        with pytest.raises(SystemExit) as stopped:
            make_archive.main(["mini"])
        return stopped.value.code

    copy = tmp_path / "copy"
    shutil.copytree(mini, copy)
    (copy / "Snakefile").write_text("changed\n")
    assert "expected no uncommitted change" in said(copy) and "Snakefile" in said(copy)
    commit(copy)
    (copy / STRUCTURE).unlink()
    assert f"expected the file {STRUCTURE}; found none." in said(copy)
    shutil.rmtree(copy / ".git")
    assert "expected a git clone" in said(copy)


WORKFLOW = """
rule report:
    output: "results/mini/report.html"
    input: "data.txt"
    params: seed=config["seed"]
    log: "results/mini/logs/report.log"
    benchmark: "results/mini/benchmarks/report.tsv"
    shell: "cp {input} {output}"
"""


def test_jobs_are_read_of_a_finished_run_only(tmp_path):
    with pytest.raises(OnemaskError, match="found no results/mini/config.yaml"):
        finished_run.read_jobs(tmp_path, "mini")
    config = finished_run.config_of("mini")
    files.write_text(tmp_path / config, "seed: 0\n")
    files.write_text(tmp_path / "Snakefile", WORKFLOW)
    files.write_text(tmp_path / "data.txt", "data\n")
    command = [sys.executable, "-m", "snakemake", "--configfile", config, "--cores", "1", "--quiet"]
    subprocess.run(command, cwd=tmp_path, check=True)
    (job,) = finished_run.read_jobs(tmp_path, "mini")
    assert job == Job("report", "results/mini/logs/report.log", ("data.txt",), ("results/mini/report.html",))
    assert float(finished_run.read_usage(tmp_path, job)["s"]) >= 0
    (tmp_path / "results/mini/report.html").unlink()
    with pytest.raises(OnemaskError, match=r"1 of its rules with jobs to do \(report\)"):
        finished_run.read_jobs(tmp_path, "mini")


def test_a_run_of_the_pipeline_is_archived_and_verified(project, tmp_path):
    """The clone's git folder lies apart, lest the project that other tests share become one."""
    environment = os.environ | {"GIT_DIR": str(tmp_path / "git"), "GIT_WORK_TREE": str(project)}
    for command in (["init", "-q"], ["add", *PARTS], ["commit", "-qm", "All"]):
        subprocess.run([*GIT, *command], cwd=project, env=environment, check=True)
    path, made = project / "results/test/archive.zip", []
    for _ in range(2):
        command = [sys.executable, "workflow_scripts/make_archive.py", "test"]
        run = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        made.append(files.sha256(path))
    assert made[0] == made[1] and made[0] in run.stdout
    folder = unpack(path, tmp_path / "empty folder")
    crate = ROCrate(folder)
    actions = crate.get_by_type("CreateAction")
    assert len(actions) - 1 == len(list(folder.rglob("*.tsv"))) > 100  # one action more is the run
    used = {action["instrument"].id for action in actions} - {crate.mainEntity.id}
    assert used == {tool.id for tool in crate.mainEntity["hasPart"]}  # fewer where rules share a log
    assert not list(folder.rglob("edits")) and not list(folder.rglob("*.safetensors"))
    verified = verify(folder)
    figures = list((project / "results/test/figures").glob("*.pdf"))
    assert verified.returncode == 0, verified.stderr
    assert verified.stdout.splitlines()[-1] == f"{len(names(path)) - 1} files verified, {len(figures)} figures identical"
    flip(folder / "results/test/tables/table2.parquet")
    again = verify(folder)
    assert again.returncode == 1 and "changed: results/test/tables/table2.parquet" in again.stderr.splitlines()
