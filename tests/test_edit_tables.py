"""Edits as tables: what is written is read back, failed edits are left out and said, and scores are of the state they claim."""

import copy
import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from conftest import FACTS, TEMPLATES
from onemask.editors import memit, rome
from onemask.editors import tables as edit_tables
from onemask.editors.base import Edited
from onemask.editors.run import edit
from onemask.editors.schemas import EDITS
from onemask.io import files
from onemask.io.errors import OnemaskError
from onemask.model.edits import FactoredEdits, LayerEdits, applied
from onemask.model.models import Model
from onemask.model.scoring import probe, score
from test_editors import MEMIT, OPTIMISATION, ROME, task

FRAME = pd.DataFrame(FACTS)
HUB = 1e-5  # factors are stored in float32


@pytest.fixture
def saved(tmp_path):
    def save(table: pd.DataFrame):
        files.write_table(tmp_path / "edits.parquet", EDITS, table, {})
        return [tmp_path / "edits.parquet"]

    return save


@pytest.mark.parametrize("editor, settings, joint", [(rome, ROME, False), (memit, MEMIT, True)])
def test_what_is_written_is_read(model, saved, editor, settings, joint):
    edited = editor.edit(task(model), settings)
    table = edit_tables.edits_table(model, FRAME, edited, joint, 1000)
    assert len(table) == len(FACTS) * len(edited.layers)
    read = edit_tables.stack_layers(edit_tables.read_edits(saved(table)), model)
    for part, other in zip(read, edited.layers, strict=True):
        assert part.layer == other.layer
        torch.testing.assert_close(part.sum().double(), other.sum().double(), rtol=HUB, atol=HUB)


def test_scores_are_of_each_edit_alone_or_of_all_together(model):
    single = edit_tables.edits_table(model, FRAME, rome.edit(task(model), ROME), False, 1000)
    edited = memit.edit(task(model), MEMIT)
    joint = edit_tables.edits_table(model, FRAME, edited, True, 1000).drop_duplicates("case_id")
    np.testing.assert_allclose(single["logp_true_before"], joint["logp_true_before"])
    with applied(model, edited.layers):
        expected = score(model, probe(model, 3, FRAME))
    np.testing.assert_allclose(joint["logp_new_after"], expected.logp_new, rtol=1e-9)
    (layer,) = rome.edit(task(model), ROME).layers
    for i in range(len(FACTS)):
        with applied(model, [layer[[i]]]):
            expected = score(model, probe(model, 3, FRAME.iloc[[i]]))
        assert single["logp_new_after"][i] == pytest.approx(float(expected.logp_new[0]), rel=1e-6)


def test_failed_edits_are_written_left_out_and_said(model, saved, caplog, monkeypatch):
    edited = rome.edit(task(model), ROME)
    failed = torch.tensor([False, False, True, False])
    (layer,) = edited.layers
    zeros = FactoredEdits(layer.layer, layer.u * ~failed[:, None, None], layer.r * ~failed[:, None, None])
    broken = dataclasses.replace(edited, layers=[zeros], failed=failed)
    table = edit_tables.edits_table(model, FRAME, broken, False, 1000)
    assert table["failure"].tolist() == ["", "", "loss not finite", ""]
    assert table["logp_new_after"][2] == pytest.approx(table["logp_new_before"][2])
    read = edit_tables.read_edits(saved(table))
    assert read["case_id"].tolist() == [0, 1, 3] and "1 failed edits are left out: cases [2]" in caplog.text
    assert edit_tables.join_facts(FRAME, read)["subject"].tolist() == ["Kyoto", "Victor Hugo", "Lyon"]
    with pytest.raises(OnemaskError, match="an edit that did not fail"):
        edit_tables.read_edits(saved(table[table["failure"] != ""]))
    monkeypatch.setattr(rome, "edit", lambda task, settings: broken)
    edit(task(model), "rome", OPTIMISATION | {"layer": 1, "mom2_adjustment": False})
    assert "1 of 4 edits failed (loss not finite): Mount Everest" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.assign(r=[row * np.nan for row in table["r"]]), "finite edits"),
        (lambda table: table.assign(u=[row[:5] for row in table["u"]]), "edits of a 32 x 48 matrix; found 32 x 5"),
        (lambda table: table.assign(layer=[0, 0, 1, 1]), "4 facts in layer 0; found 2 rows"),
    ],
)
def test_tables_that_cannot_be_edits_are_refused(model, change, message):
    table = edit_tables.edits_table(model, FRAME, rome.edit(task(model), ROME), False, 1000)
    with pytest.raises(OnemaskError, match=message):
        edit_tables.layer_edits(change(table), model)


def test_edits_made_together_are_one_update_of_the_last_layer_and_the_rest(model):
    table = edit_tables.edits_table(model, FRAME, memit.edit(task(model), MEMIT), True, 1000)
    found = edit_tables.layer_edits(table, model)
    first, last = edit_tables.stack_layers(table, model)
    assert found.layer == 2 and [part.layer for part in found.others] == [0]
    torch.testing.assert_close(found.update.matrix, last.sum())
    with pytest.raises(OnemaskError, match=r"single edits of one layer, or one joint edit; found layers \[0, 2\]"):
        edit_tables.layer_edits(table.assign(joint=False), model)


def test_a_gpt2_xl_edit_takes_a_rank_one_edits_bytes(tmp_path):
    """3,000 of them fit into 150 MB (the release's dense ones take 61 GB)."""
    count, generator = 100, torch.Generator().manual_seed(0)
    u, r = (torch.randn(count, 1, size, generator=generator) for size in (6400, 1600))
    flat = torch.zeros(count)
    edited = Edited([FactoredEdits(17, u, r)], torch.zeros(count, 20), flat, flat > 0)
    facts = pd.DataFrame({"case_id": range(count), **{key: FACTS[0][key] for key in FACTS[0] if key != "case_id"}})
    scores = dict.fromkeys(("logp_true_before", "logp_new_before", "logp_true_after", "logp_new_after", "token_accuracy"), 0.5)
    table = facts.assign(
        **scores, layer=17, component=0, joint=False, steps=20, loss=0.1, delta_norm=1.0, truncation=0.0, failure="",
        relative_norm=0.1, neutral_kl=0.1, unstable=False, verdict="edited",
        u=list(edited.layers[0].u[:, 0].numpy()), r=list(edited.layers[0].r[:, 0].numpy()),
    )  # fmt: skip
    files.write_table(tmp_path / "edits.parquet", EDITS, table, {})
    assert (tmp_path / "edits.parquet").stat().st_size * 3000 / count < 150e6


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_half_precision_moves_an_edit_little(model, precision):
    """A bf16 model, and bf16 products in a float32 model: factors stay float32, and point where the exact ones do."""
    exact = rome.edit(task(model), ROME)
    dtype = torch.bfloat16 if precision == "float32" else torch.float32
    half = Model(copy.deepcopy(model.network).to(dtype), model.tokenizer, model.network.config.model_type)
    found = rome.edit(task(half), dataclasses.replace(ROME, precision=precision))
    (layer,), (other,) = found.layers, exact.layers
    assert layer.u.dtype == layer.r.dtype == torch.float32 and not found.failed.any()
    cosine = torch.nn.functional.cosine_similarity(layer.u[:, 0].double(), other.u[:, 0], dim=1)
    assert float(cosine.min()) > 0.99
    updates = torch.stack([torch.stack([part.dense(i).double().flatten() for i in range(len(FACTS))]) for part in (layer, other)])
    assert float(torch.nn.functional.cosine_similarity(*updates, dim=1).min()) > 0.8
    table = edit_tables.edits_table(half, FRAME, found, False, 1000)
    reference = edit_tables.edits_table(model, FRAME, exact, False, 1000)
    np.testing.assert_allclose(table["logp_new_after"], reference["logp_new_after"], rtol=0.2)


@pytest.mark.parametrize("method", ["memit", "emmet", "alphaedit", "ft-l"])
def test_every_editor_runs_on_a_half_precision_model(model, method):
    half = Model(copy.deepcopy(model.network).to(torch.bfloat16), model.tokenizer, model.network.config.model_type)
    more = {
        "memit": {"layers": [0, 2], "mom2_update_weight": 10.0},
        "emmet": {"layers": [0, 2], "mom2_update_weight": 10.0, "emmet_lambda": 0.1},
        "alphaedit": {"layers": [0, 2], "null_space_threshold": 0.9, "l2": 1.0},
    }
    settings = OPTIMISATION | more[method] if method in more else {
        "layer": 1, "steps": 4, "lr": 0.01, "norm_constraint": 0.015, "loss_threshold": 0.01, "rank": 4, "edit_batch_tokens": 100
    }  # fmt: skip
    found, exact = (edit(task(each), method, settings) for each in (half, model))
    for part, other in zip(found.layers, exact.layers, strict=True):
        assert part.u.dtype == part.r.dtype == torch.float32
        sums = part.sum().double().flatten(), other.sum().double().flatten()
        assert float(torch.nn.functional.cosine_similarity(*sums, dim=0)) > 0.8


def test_the_first_template_is_bare(model):
    with pytest.raises(OnemaskError, match='"{}" as the first template'):
        edit(dataclasses.replace(task(model), templates=TEMPLATES[1:]), "rome", {})


def test_a_sample_is_spread_over_all_facts_and_keeps_their_edits(model):
    edited = rome.edit(task(model), ROME)
    facts, edits = edit_tables.sample(FRAME, LayerEdits(edited.layers[0]), 3)
    assert facts["case_id"].tolist() == [0, 2, 3]  # the ends, and what lies between
    for row, case in enumerate(facts["case_id"]):
        torch.testing.assert_close(edits.update.dense(row), edited.layers[0].dense(case))
    everything, same = edit_tables.sample(FRAME, LayerEdits(edited.layers[0]), 99)
    assert len(everything) == len(FRAME) == len(same.update)
