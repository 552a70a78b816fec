"""Where results go: a full disk, a read-only folder, a file in the way; and names with spaces and umlauts, which work."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from matplotlib.figure import Figure

import fetch_corpus
import fetch_counterfact
import fetch_model
import tiny_model
from faults import ROOT, Ended, onemask, refused, rule, snakemake
from onemask.data.schemas import FACTS
from onemask.figures.compose import save
from onemask.io.files import read_table, write_table, write_text
from onemask.io.tensor_files import Checkpoint, write_tensors
from onemask.measuring.schemas import PERPLEXITY

FACT = {"prompt": "The country where {} is located is", "subject": "Kyoto", "target_new": "France", "target_true": "Japan"}
HPARAMS = {"steps": 2, "templates": []}


def mount(*arguments: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may mount, and a full or read-only disk cannot be had otherwise")
    run = subprocess.run(["mount", *arguments], capture_output=True, text=True)
    if run.returncode:
        pytest.skip(f"mount is not allowed here: {run.stderr.strip()}")


@pytest.fixture
def small(tmp_path) -> Iterator[Path]:
    """A disk of 1 MiB, in the place of results/."""
    disk = tmp_path / "results"
    disk.mkdir()
    mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk))
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.fixture
def readonly(small) -> Path:
    """A disk that cannot be written, whoever asks: root passes over permissions."""
    mount("-o", "remount,ro", str(small))
    return small


def noise(count: int) -> np.ndarray:
    """Numbers that no compression makes small."""
    return np.random.default_rng(0).random(count)


def a_large_table(path: Path) -> None:
    rows = pd.DataFrame({"case_id": range(300_000), "state": "edited", "nll": noise(300_000), "tokens": 1})
    write_table(path, PERPLEXITY, rows, {})


def a_large_figure(path: Path) -> None:
    figure = Figure((6, 6))
    figure.add_subplot().imshow(noise(1_000_000).reshape(1000, 1000))
    save(figure, path)


WRITERS = {
    "table.parquet": a_large_table,
    "mask.safetensors": lambda path: write_tensors(path, {"theta": torch.rand(1000, 1000)}, {}),
    "state.checkpoint": lambda path: Checkpoint(path).write({"theta": torch.rand(1000, 1000)}),
    "report.html": lambda path: write_text(path, "a" * 3_000_000),
    "figure.png": a_large_figure,
}


def writing(folder: Path, path: Path, write: Callable[[Path], None]) -> Ended:
    return rule(SimpleNamespace(__name__="write", main=lambda smk: write(path)), folder)


@pytest.mark.parametrize("name", WRITERS)
def test_a_disk_that_runs_full_is_named(tmp_path, small, name):
    refused(
        writing(tmp_path, small / name, WRITERS[name]), f"to write .*results/{name}; found .*[Nn]o space left.*Free the space"
    )


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_the_old_file_as_it_was(small, name):
    """Nor does a log that cannot be written hide the error."""
    (small / name).write_bytes(b"old")
    with open(small / "other", "wb", buffering=0) as other, pytest.raises(OSError, match="No space left"):
        while True:
            other.write(bytes(4096))
    refused(writing(small, small / name, WRITERS[name]), f"to write .*{name}; found .*[Nn]o space left")
    assert (small / name).read_bytes() == b"old"


def fetched_corpus(folder: Path, out: Path) -> Ended:
    (folder / "corpus.txt").write_text("\n\n".join(map(str, noise(200_000))), encoding="utf-8")
    source = {"path": str(folder / "corpus.txt"), "part": "both"}
    return rule(fetch_corpus, folder, params={"source": source}, output={"corpus": out})


def fetched_counterfact(folder: Path, out: Path) -> Ended:
    (folder / "counterfact.json").write_bytes(bytes(3_000_000))
    params = {"path": str(folder / "counterfact.json"), "sha256": None}
    return rule(fetch_counterfact, folder, params=params, output={"records": out})


def edited(folder: Path, out: Path) -> Ended:
    facts, hparams = folder / "facts.jsonl", folder / "hparams.yaml"
    facts.write_text(json.dumps(FACT), encoding="utf-8")
    hparams.write_text(json.dumps(HPARAMS), encoding="utf-8")
    arguments = ["--model", tiny_model.make(), "--facts", facts, "--hparams", hparams, "--layer", 0, "--out", out]
    return onemask(folder, "edit", *arguments)


def applied(folder: Path, out: Path) -> Ended:
    edits = folder / "edits.parquet"
    assert edits.exists() or edited(folder, edits).code == 0
    return onemask(folder, "apply", "--model", tiny_model.make(), "--edits", edits, "--out", out)


@pytest.mark.parametrize(
    ("run", "name"),
    [(fetched_corpus, "corpus.parquet"), (fetched_counterfact, "counterfact.json"), (applied, "checkpoint")],
)
def test_a_rule_and_a_command_say_that_the_disk_is_full(tmp_path, small, run, name):
    refused(run(tmp_path, small / name), f"to write .*results/{name}; found .*[Nn]o space left")


@pytest.mark.parametrize("name", WRITERS)
def test_a_readonly_folder_is_named(tmp_path, readonly, name):
    refused(writing(tmp_path, readonly / name, WRITERS[name]), f"to write .*results/{name}; found Read-only file system")


def test_a_log_that_cannot_be_opened_is_named(readonly):
    refused(writing(readonly, readonly / "a", write_text), "to write .*results/job.log; found Read-only file system")


def test_a_model_is_not_fetched_into_a_readonly_folder(tmp_path, readonly):
    spec = {"family": "gpt2", "source": {"path": str(tiny_model.make())}}
    output, wildcards = {"folder": readonly / "tiny"}, {"model": "tiny"}
    found = rule(fetch_model, tmp_path, output=output, params={"spec": spec}, wildcards=wildcards)
    refused(found, "to write .*results/tiny; found Read-only file system")


@pytest.mark.parametrize("run", [edited, applied])
def test_a_command_says_before_any_work_that_it_cannot_write(tmp_path, readonly, run, monkeypatch):
    monkeypatch.setattr("onemask.commands.edit.load_checkpoint", None) if run is edited else None
    refused(run(tmp_path, readonly / "out"), "to write .*results/out; found Read-only file system")
    assert not (tmp_path / "out.batches").exists()


def test_snakemake_says_that_results_cannot_be_written(tmp_path, readonly):
    found = snakemake(tmp_path, ROOT / "config" / "test.yaml", "results/test/facts/train.parquet")
    assert found.code == 1 and "Read-only file system" in found.said and "Traceback" not in found.said


@pytest.mark.parametrize("run", [edited, applied])
def test_a_file_in_the_way_is_named(tmp_path, run):
    (tmp_path / "results").write_text("in the way")
    refused(run(tmp_path, tmp_path / "results" / "out"), "to write .*results/out; found ")


def test_what_exists_is_not_overwritten_by_a_checkpoint_nor_a_folder_by_edits(tmp_path):
    (tmp_path / "results").mkdir()
    refused(applied(tmp_path, tmp_path / "results"), "a new folder at .*results; found one that exists")
    refused(edited(tmp_path, tmp_path / "results"), "a file to write; found the folder .*results")


@pytest.fixture
def named(tmp_path) -> Path:
    """A folder whose name a careless shell or an ASCII codec would break."""
    folder = tmp_path / "Eine Maske für alle — 面具"
    folder.mkdir()
    return folder


def test_the_pipeline_runs_in_such_a_folder(named):
    for part in ("Snakefile", "rules", "workflow_scripts", "profiles", "envs"):
        (named / part).symlink_to(ROOT / part)
    shutil.copytree(ROOT / "config", named / "config")
    config = yaml.safe_load((named / "config" / "test.yaml").read_text(encoding="utf-8"))
    path = named / "config" / "größer.yaml"
    path.write_text(yaml.safe_dump(config | {"run": "names"}), encoding="utf-8")
    found = snakemake(named, path, "results/names/facts/train.parquet", project=named)
    assert found.code == 0, found.said
    assert len(read_table(named / "results" / "names" / "facts" / "train.parquet", FACTS)) == 80


def test_the_command_works_in_such_a_folder(named, monkeypatch):
    monkeypatch.setitem(FACT, "subject", "Zürich 東京")
    found = applied(named, named / "geändert")
    assert found.code == 0 and named / "geändert" / "model.safetensors" in found.left, found.said
