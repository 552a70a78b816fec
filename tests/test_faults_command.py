"""What is given to the command `onemask` and cannot be used: hyperparameters, edits, second moments; refused before any work."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

import tiny_model
from faults import Ended, edits_table, onemask, refused
from onemask.commands.places import locate
from onemask.editors.schemas import EDITS
from onemask.io.files import METADATA_KEY, write_table
from onemask.io.tensor_files import write_tensors

FACT = {"prompt": "The country where {} is located is", "subject": "Kyoto", "target_new": "France", "target_true": "Japan"}
WIDTH, WIDTH_MLP, MATRIX = 128, 512, "transformer.h.0.mlp.c_proj.weight"  # of the tiny model


def edited(folder: Path, *more: object) -> Ended:
    (folder / "facts.jsonl").write_text(json.dumps(FACT), encoding="utf-8")
    given = ["--model", tiny_model.make(), "--facts", folder / "facts.jsonl", "--out", folder / "edits.parquet"]
    return onemask(folder, "edit", *given, *more)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"stepps: 3", "the hyperparameters to follow .*at rome: .*Did you mean 'steps'"),
        (b"editing: {rome: {layr: 3}}", "the hyperparameters to follow .*at rome: .*Did you mean 'layer'"),
        (b"editing: {mend: {lr: 1}}", "the hyperparameters to follow .*'mend' was unexpected"),
        (b"steps: many", "at rome.steps: 'many' is not of type 'integer'"),
        (b"steps: 3.0", "at rome.steps: 3.0 is not of type 'integer'"),
        (b"lr: .nan", "at rome.lr: nan is not of type 'number'"),
        (b"lr: -1", "at rome.lr"),
        (b"lr: [", "YAML at .*hparams.yaml"),
        (b"lr: 2024-13-45", "YAML at .*hparams.yaml; found month must be in 1..12"),
        (b"# \xff", "YAML at .*hparams.yaml; found 'utf-8' codec"),
        (b"", "keys and values in .*hparams.yaml; found NoneType"),
        (b"- lr", "keys and values in .*hparams.yaml; found list"),
    ],
)
def test_bad_hyperparameters_are_named(tmp_path, content, message):
    (tmp_path / "hparams.yaml").write_bytes(content)
    refused(edited(tmp_path, "--layer", 0, "--hparams", tmp_path / "hparams.yaml"), message)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--method", "mend", "--layer", 0], "a method out of rome, .*; found mend"),
        (["--layer", 9], "a layer in 0..3; found 9"),
        (["--layer", -1], "at rome.layer: -1 is less than the minimum of 0"),
        (["--layer", 0, 1], r"one layer for rome; found \[0, 1\]"),
        (["--method", "memit", "--layer", 1, 0], r"memit's layers ascending, each once; found \[1, 0\]"),
        (["--layer", 0, "--facts", "nowhere.jsonl"], "facts at nowhere.jsonl; found .*No such file"),
        (["--layer", 0, "--templates", "nowhere.txt"], "templates at nowhere.txt; found .*No such file"),
        (
            ["--layer", 0, "--model", "./nowhere"],
            "its name on the hub .*; found no folder ./nowhere, and no such name",
        ),
        (["--layer", 0, "--device", "abacus"], "the device 'abacus'"),
        ([], "a value for rome's layer; found none. Give --layer"),
        (["--layer", 0, "--hparams", "nowhere.yaml"], "YAML at nowhere.yaml; found .*No such file"),
        (["--layer", 0, "--out", "/"], "a file to write; found the folder /"),
    ],
)
def test_a_bad_argument_is_named(tmp_path, more, message):
    refused(edited(tmp_path, *more), message)


@pytest.mark.parametrize("arguments", [[], ["edti"], ["edit"], ["edit", "--layer", "one"], ["apply", "--edits"]])
def test_a_command_line_that_cannot_be_read_is_refused_with_its_usage(tmp_path, arguments):
    found = onemask(tmp_path, *arguments)
    assert found.code == 2 and "usage: onemask" in found.said and not found.left


def test_a_bad_second_moment_is_named(tmp_path):
    (tmp_path / "moments").mkdir()
    moment = tmp_path / "moments" / "0.safetensors"
    more = ["--method", "emmet", "--layer", 0, "--second-moments", moment.parent]
    (tmp_path / "h.yaml").write_text("{mom2_update_weight: 10, emmet_lambda: 0.1}", encoding="utf-8")
    more += ["--hparams", tmp_path / "h.yaml"]
    moment.write_bytes(b"C")
    refused(edited(tmp_path, *more), "second moments at .*/0.safetensors")
    write_tensors(moment, {"keep": torch.ones(2, 2)}, {})
    refused(edited(tmp_path, *more), "second moments at .*/0.safetensors; found a file of keep")
    write_tensors(moment, {"layer0": torch.eye(WIDTH_MLP)}, {"samples": 9999, "model": {"sha256": "another"}})
    refused(edited(tmp_path, *more), "second moments of this model; found those of other weights")


def some_edits(folder: Path, model: dict, **changes: object) -> Path:
    """A file of one edit in layer 0 of the tiny model, with other columns than these."""
    made = {"case_id": [1], "relation_id": "", "layer": 0, "u": [np.ones(WIDTH_MLP)], "r": [np.ones(WIDTH)]}
    write_table(folder / "edits.parquet", EDITS, edits_table(**made | changes), {"model": model})
    return folder / "edits.parquet"


def applied(edits: Path, *more: object) -> Ended:
    return onemask(edits.parent, "apply", "--model", tiny_model.make(), "--edits", edits, "--out", edits.parent / "out", *more)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layer": 9}, "transformer.h.9.mlp.c_proj.weight in .*; found no such tensor"),
        ({"u": [np.ones(5)]}, "edits of a 128 x 512 matrix; found 128 x 5"),
        ({"r": [np.full(WIDTH, np.nan)]}, "finite edits; found NaN or infinity"),
        ({"u": [None]}, "factors u of every edit, equally long"),
        ({"failure": "loss not finite"}, "an edit that did not fail; found none in .*edits.parquet"),
    ],
)
def test_bad_edits_are_not_applied(tmp_path, changes, message):
    _, tiny = locate(str(tiny_model.make()))
    refused(applied(some_edits(tmp_path, tiny, **changes)), message)


def with_metadata(path: Path, metadata: dict | None) -> None:
    pq.write_table(pq.read_table(path).replace_schema_metadata(metadata), path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: with_metadata(path, None), "provenance in .*edits.parquet; found none"),
        (lambda path: with_metadata(path, {"other": "x"}), "provenance in .*edits.parquet; found none"),
        (lambda path: with_metadata(path, {METADATA_KEY: b"{"}), "a whole Parquet file at .*edits.parquet"),
        (lambda path: path.write_text("edits"), "a whole Parquet file at .*edits.parquet; found .*Parquet"),
        (lambda path: path.unlink(), "a whole Parquet file at .*edits.parquet; found no such file"),
    ],
)
def test_a_file_that_holds_no_edits_is_named(tmp_path, spoil, message):
    _, tiny = locate(str(tiny_model.make()))
    path = some_edits(tmp_path, tiny)
    spoil(path)
    refused(applied(path), message)


def test_edits_of_another_model_or_unknown_cases_are_refused(tmp_path):
    _, tiny = locate(str(tiny_model.make()))
    other = Path(shutil.copytree(tiny_model.make(), tmp_path / "other"))
    tensors = load_file(other / "model.safetensors")
    tensors[MATRIX] += 1
    save_file(tensors, other / "model.safetensors", {"format": "pt"})
    edits = some_edits(tmp_path, tiny)
    refused(applied(edits, "--model", other), r"the model that .*edits.parquet was made for \(tiny-gpt2\); found .*other")
    refused(applied(edits, "--remove", 7), r"cases of .*edits.parquet in --remove; found \[7\]")
    refused(applied(edits, "--remove", 1), "an edit to apply; found none left")
    assert applied(edits).code == 0  # what was given above is what it was refused for
