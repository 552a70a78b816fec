"""Measures against values worked out by hand, the tables and captions made of them, and the hash of the code behind."""

import ast
import math
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from onemask import codehash, tables
from onemask.captions import figure_caption, table_caption
from onemask.errors import OnemaskError
from onemask.measures import (
    COLUMNS,
    blocking_measures,
    bootstrap_interval,
    confidence_measures,
    fact_measures,
    perplexity_measures,
    reversal_measures,
)
from onemask.schemas import TABLES

KEY = {"model": "m", "method": "rome"}


def one(table: pd.DataFrame, **where) -> pd.Series:
    """The only row with these values."""
    for key, value in where.items():
        table = table[table[key] == value]
    assert len(table) == 1, table
    return table.iloc[0]


def strata(*sizes: int) -> np.ndarray:
    return np.repeat([f"P{i}" for i in range(len(sizes))], sizes)


def test_the_interval_follows_its_seed():
    values = np.random.default_rng(0).random(50)
    one_stratum = strata(50)
    first = bootstrap_interval(values, one_stratum, 1)
    assert first == bootstrap_interval(values, one_stratum, 1)
    assert first != bootstrap_interval(values, one_stratum, 2)


@pytest.mark.parametrize("size", [30, 400])
def test_the_interval_holds_the_mean_and_has_the_normal_width(size):
    values = np.random.default_rng(5).normal(3.0, 2.0, size)
    low, high = bootstrap_interval(values, strata(size), 0)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / math.sqrt(size), rel=0.1)


def test_the_interval_covers_as_often_as_it_says():
    generator = np.random.default_rng(0)
    draws = [bootstrap_interval(generator.normal(size=60), strata(60), seed) for seed in range(200)]
    share = np.mean([low <= 0 <= high for low, high in draws])
    assert 0.89 < share < 0.99


@pytest.mark.parametrize("sizes", [(7,), (3, 4), (1, 1, 5)])
def test_constant_values_have_no_width(sizes):
    assert bootstrap_interval(np.full(7, 0.25), strata(*sizes), 0) == (0.25, 0.25)


def test_facts_are_drawn_within_their_stratum():
    values = np.repeat([0.0, 1.0], [10, 30])
    assert bootstrap_interval(values, strata(10, 30), 0) == (0.75, 0.75)
    low, high = bootstrap_interval(values, strata(40), 0)
    assert high - low > 0.2


# state, relation, log P(o), log P(o*), the same of the first token, argmax agrees, KL
REVERSAL = [
    ("original", "P1", -1.0, -2.0, -1.0, -2.0, True, 0.0),
    ("original", "P1", -1.0, -2.0, -1.0, -2.0, True, 0.0),
    ("original", "P2", -3.0, -2.0, -1.0, -2.0, True, 0.0),
    ("edited", "P1", -5.0, -0.1, -4.0, -0.1, False, 2.0),
    ("edited", "P1", -1.0, -2.0, -3.0, -2.0, True, 1.0),
    ("edited", "P2", -2.0, -2.0, -2.0, -2.0, False, 6.0),
    ("shared", "P1", -1.0, -5.0, -1.0, -5.0, True, 0.5),
    ("shared", "P1", -1.0, -5.0, -5.0, -1.0, False, 0.5),
    ("shared", "P2", -1.0, -5.0, -1.0, -5.0, True, 2.0),
]


def reversal_table() -> pd.DataFrame:
    names = ["state", "relation_id", "logp_true", "logp_new", "logp_true_first", "logp_new_first", "top1", "kl"]
    frame = pd.DataFrame(REVERSAL, columns=names)
    return frame.assign(case_id=[0, 1, 2] * 3, argmax=0)[TABLES["reversal"].names]


@pytest.mark.parametrize(
    "mask, metric, by_relation",
    [
        ("original", "rsr", {"all": 2 / 3, "P1": 1, "P2": 0}),
        ("original", "rsr_first_token", {"all": 1, "P1": 1, "P2": 1}),
        ("original", "success", {"all": 1 / 3, "P1": 0, "P2": 1}),
        ("none", "rsr", {"all": 1 / 3, "P1": 1 / 2, "P2": 0}),
        ("none", "rsr_first_token", {"all": 0, "P1": 0, "P2": 0}),
        ("none", "success", {"all": 1 / 3, "P1": 1 / 2, "P2": 0}),
        ("none", "top1", {"all": 1 / 3, "P1": 1 / 2, "P2": 0}),
        ("none", "kl", {"all": 3, "P1": 1.5, "P2": 6}),
        ("shared", "rsr", {"all": 1, "P1": 1, "P2": 1}),
        ("shared", "rsr_first_token", {"all": 2 / 3, "P1": 1 / 2, "P2": 1}),
        ("shared", "top1", {"all": 2 / 3, "P1": 1 / 2, "P2": 1}),
        ("shared", "kl", {"all": 1, "P1": 0.5, "P2": 2}),
    ],
)
def test_reversal_by_hand(mask, metric, by_relation):
    found = reversal_measures({"test": reversal_table()}, {"shared": 0.1}, 4, **KEY)
    found = found[(found["mask"] == mask) & (found["metric"] == metric)]
    assert found.set_index("relation")["value"].to_dict() == pytest.approx(by_relation)
    assert found.set_index("relation")["n"].to_dict() == {"all": 3, "P1": 2, "P2": 1}
    assert (found["ci_low"] <= found["value"]).all() and (found["value"] <= found["ci_high"]).all()


def test_reversal_keeps_its_splits_and_the_pruned_share():
    splits = {"train": reversal_table(), "test": reversal_table().iloc[:3]}
    found = reversal_measures(splits, {"shared": 0.125, "random": 0.125}, 4, **KEY)
    assert list(found.columns) == COLUMNS
    assert set(zip(found["model"], found["method"], found["seed"], strict=True)) == {("m", "rome", 4)}
    assert set(found.loc[found["split"] == "test", "mask"]) == {"original"}
    pruned = one(found, metric="pruned", mask="shared")
    assert (pruned["value"], pruned["split"], pruned["relation"]) == (0.125, "all", "all")
    assert math.isnan(pruned["ci_low"])
    assert not found.duplicated(["mask", "split", "metric", "relation"]).any()


def test_perplexity_is_averaged_over_edits():
    table = pd.DataFrame(
        [(-1, "original", math.log(20.0)), (0, "edited", math.log(30.0)), (1, "edited", math.log(50.0))],
        columns=["case_id", "state", "nll"],
    ).assign(tokens=64)
    found = perplexity_measures(table, 0, **KEY)
    assert list(found.columns) == COLUMNS
    alone, edited = one(found, mask="original"), one(found, mask="none")
    assert (alone["value"], alone["n"], edited["value"], edited["n"]) == pytest.approx((20.0, 1, 40.0, 2))
    assert math.isnan(alone["ci_low"]) and math.isnan(alone["ci_high"])
    assert (edited["ci_low"], edited["ci_high"]) == pytest.approx((30.0, 50.0))


def test_blocking_by_hand():
    rows = [
        ("unmasked", "P1", True, 1.0),
        ("unmasked", "P2", True, 1.0),
        ("masked", "P1", True, 0.5),
        ("masked", "P1", False, 1.0),
        ("masked", "P2", False, 0.0),
        ("masked_after", "P1", False, 0.99),
    ]
    table = pd.DataFrame(rows, columns=["condition", "relation_id", "success", "token_accuracy"])
    found = blocking_measures(table, 0, **KEY)
    assert list(found.columns) == COLUMNS
    assert set(found["mask"]) == {"none", "masked", "masked_after"}
    value = found.set_index(["mask", "metric", "relation"])["value"].to_dict()
    assert value["none", "success", "all"] == value["none", "token_accuracy", "P2"] == 1
    assert value["masked", "success", "all"] == value["masked", "token_accuracy", "all"] == pytest.approx(1 / 3)
    assert (value["masked", "success", "P1"], value["masked", "success", "P2"]) == (0.5, 0)
    assert value["masked_after", "token_accuracy", "all"] == 0


BEFORE, AFTER = [0.2, 0.1, 0.4, 0.3, 0.05], [0.9, 0.95, 0.99, 0.25, 0.8]


def confidence_table() -> pd.DataFrame:
    """P(o) before and P(o*) after by case, the edited rows in another order; other columns must not enter."""
    before = pd.DataFrame({"case_id": range(5), "logp_true_first": np.log(BEFORE), "state": "original"})
    after = pd.DataFrame({"case_id": range(5), "logp_new_first": np.log(AFTER), "state": "edited"})
    table = pd.concat([before, after[::-1]], ignore_index=True).assign(logp_true=-9.0, logp_new=-9.0)
    return table.assign(relation_id=np.where(table["case_id"] < 2, "P1", "P2")).fillna(-7.0)


def test_confidence_by_hand_and_by_scipy():
    found = confidence_measures(confidence_table(), 0, **KEY)
    assert list(found.columns) == COLUMNS
    before, after = np.array(BEFORE), np.array(AFTER)
    expected = {
        "p_original": before.mean(),
        "p_original_sd": before.std(ddof=1),
        "p_edited": after.mean(),
        "p_edited_sd": after.std(ddof=1),
        "cohens_d": (after - before).mean() / (after - before).std(ddof=1),
        "p_value": stats.wilcoxon(after - before, alternative="greater").pvalue,
    }
    value = found[found["relation"] == "all"].set_index("metric")["value"].to_dict()
    assert value == pytest.approx(expected)
    assert value["p_value"] == pytest.approx(2 / 32)  # of the 32 signs of five ranks, two reach a sum of 14
    assert one(found, metric="p_original", relation="P1")["value"] == pytest.approx(0.15)
    assert one(found, metric="p_edited", relation="P2")["n"] == 3


def facts(*rows: tuple) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["relation_id", "subject", "target_true", "target_new"])


def test_facts_are_counted():
    train = facts(("P1", "a", "x", "y"), ("P1", "b", "x", "y"), ("P2", "a", "y", "x"), ("P2", "c", "x", "z"))
    knowledge = pd.DataFrame(
        [("train", "P1", True), ("train", "P1", False), ("train", "P2", False), ("train", "P2", False), ("test", "P1", True)],
        columns=["split", "relation_id", "known"],
    )
    splits, leaked = {"train": train, "memit_test": facts(("P1", "a", "x", "y"))}, {"train": 0, "memit_test": 1}
    found = fact_measures(splits, leaked, knowledge, 0, model="m")
    assert list(found.columns) == COLUMNS
    part = found[(found["split"] == "train") & (found["relation"] == "all")].set_index("metric")["value"].to_dict()
    expected = {"facts": 4, "relations": 2, "unique_objects": 2, "unique_subjects": 3, "unique_mappings": 3}
    assert part == expected | {"facts_shared_with_training": 0, "facts_dropped": 3, "facts_edited": 1}
    assert one(found, split="train", metric="facts_dropped", relation="P1")["value"] == 1
    assert one(found, split="train", metric="facts_edited", relation="P2")["value"] == 0
    assert one(found, split="memit_test", metric="facts_shared_with_training")[["value", "method"]].tolist() == [1, "memit"]
    assert set(fact_measures(splits, leaked, None, 0, model="m")["metric"]) == set(tables.SAMPLE)


def grid(metrics, splits, masks, relations=("all",), **key) -> list[dict]:
    return [
        KEY | {"seed": 0, "metric": metric, "split": split, "mask": mask, "relation": relation} | key
        for metric in metrics
        for split in splits
        for mask in masks
        for relation in relations
    ]


def every_measure() -> pd.DataFrame:
    """Two models' measures of every stage, each value its own, in an order without meaning."""
    rates = ("rsr", "rsr_first_token", "top1", "kl", "success")
    relations = ("all", "P17", "P30")
    confidence = ("p_edited", "p_edited_sd", "p_value", "cohens_d")
    rows = []
    for model in ("small", "large"):
        rows += grid(rates, ("train", "test", "ood"), tables.MASKS, relations, model=model)
        rows += grid(("pruned",), ("all",), ("shared", "random", "layer_zeroed"), model=model)
        rows += grid(("perplexity",), ("perplexity",), tables.MASKS, model=model)
        rows += grid(("p_original", "p_original_sd"), ("test",), ("original",), model=model)
        rows += grid(confidence, ("test",), ("none",), model=model)
        rows += grid(tables.SAMPLE, ("train", "test", "ood"), ("none",), model=model)
        rows += grid(("facts_dropped", "facts_edited"), ("train", "test"), ("none",), relations, model=model)
        rows += grid(tables.SAMPLE, ("memit_train", "memit_test"), ("none",), model=model, method="memit")
    frame = pd.DataFrame(rows).assign(n=40)
    frame["value"] = 1000.0 + np.arange(len(frame))
    frame["ci_low"], frame["ci_high"] = frame["value"] - 0.5, frame["value"] + 0.5
    exact = frame["metric"].isin([*tables.COUNTS, "pruned", "p_value", "cohens_d"])
    frame.loc[exact, ["ci_low", "ci_high"]] = math.nan
    return frame.sample(frac=1, random_state=0)[COLUMNS]


@pytest.mark.parametrize(
    "name, size",
    [("table1", 48), ("table2", 96), ("table3", 12), ("table4", 48), ("table5", 24), ("table7", 120)],
)
def test_a_table_takes_its_measures_whole(name, size):
    chosen, wanted = tables.select(every_measure(), name), tables.TABLES[name]
    assert list(chosen.columns) == COLUMNS
    assert len(chosen) == size
    assert set(chosen["metric"]) == set(wanted.metrics)
    assert list(chosen["metric"].unique()) == list(wanted.metrics)
    assert (set(chosen["relation"]) == {"all"}) != wanted.by_relation


def test_every_table_is_tested():
    assert set(tables.TABLES) == {"table1", "table2", "table3", "table4", "table5", "table7"}


@pytest.mark.parametrize("name", sorted(tables.TABLES))
def test_every_measure_stands_in_its_cell(name):
    chosen, layout = tables.select(every_measure(), name), tables.TABLES[name]
    wide = tables.wide(chosen, name)
    rows = ["model", *layout.rows]
    assert list(wide.columns[: len(rows)]) == rows
    column = layout.columns[0] if layout.columns else None
    for _, row in chosen.iterrows():
        line = one(wide, **{key: row[key] for key in rows})
        assert line[row[column] if column else "value"] == tables.cell(row)
    assert (wide.drop(columns=rows) != "").to_numpy().sum() == len(chosen)


@pytest.mark.parametrize("name", sorted(tables.TABLES))
def test_a_table_for_readers_shows_every_cell_under_its_caption(name):
    chosen = tables.select(every_measure(), name)
    text, page = tables.markdown(chosen, name), tables.html(chosen, name)
    caption, lines = text.split("\n\n", 1)
    assert caption.startswith(f"**Table {name[-1]}.** {tables.TABLES[name].title}. Model ")
    assert lines.startswith("|") and lines.splitlines()[1].startswith("|:--")
    for cell in chosen.apply(tables.cell, axis=1):
        assert f"| {cell} " in lines
        assert f"<td>{cell}</td>" in page


def test_masks_and_splits_stand_in_a_readers_order():
    assert list(tables.wide(tables.select(every_measure(), "table2"), "table2").columns[3:]) == list(tables.MASKS)
    assert list(tables.wide(tables.select(every_measure(), "table4"), "table4").columns[3:]) == ["train", "test", "ood"]


def test_seeds_stand_in_the_rows_where_there_are_several():
    both = pd.concat([every_measure(), every_measure().assign(seed=1)])
    wide = tables.wide(tables.select(both, "table3"), "table3")
    assert list(wide.columns) == ["model", "seed", "metric", "value"]
    assert len(wide) == 24


@pytest.mark.parametrize("name", sorted(tables.TABLES))
def test_a_table_without_measures_is_refused(name):
    with pytest.raises(OnemaskError, match=f"measures for {name}"):
        tables.select(every_measure().assign(metric="other"), name)


@pytest.mark.parametrize(
    "metric, value, low, high, text",
    [
        ("facts", 2986.0, math.nan, math.nan, "2,986"),
        ("facts_dropped", 0.0, math.nan, math.nan, "0"),
        ("p_value", 1.26e-7, math.nan, math.nan, "1.3e-07"),
        ("perplexity", 23.449, 22.04, 25.0, "23.4 [22.0, 25.0]"),
        ("perplexity", 23.449, math.nan, math.nan, "23.4"),
        ("rsr", 0.98, 0.9612, 1.0, "0.980 [0.961, 1.000]"),
        ("pruned", 0.1, math.nan, math.nan, "0.100"),
        ("cohens_d", -1.2345, math.nan, math.nan, "-1.234"),
    ],
)
def test_a_cell_reads_as_people_write(metric, value, low, high, text):
    assert tables.cell(pd.Series({"metric": metric, "value": value, "ci_low": low, "ci_high": high})) == text


def test_a_tables_caption_names_its_sample():
    table = every_measure()
    table = table[table["split"].isin(["test", "all"]) & (table["method"] == "rome")]
    table.loc[(table["split"] == "test") & (table["relation"] == "all"), "n"] = 170
    caption = table_caption("A title", table[table["model"] == "small"])
    assert caption.startswith("A title. Model small; method ROME; seed 0; test: n = 170.")
    assert "95% bootstrap intervals" in caption
    assert "all: n" not in caption


@pytest.mark.parametrize(
    "tables_shown, sample",
    [
        ({"decomposition": pd.DataFrame({"case_id": [1, 1, 2]}), "layer": 3}, "2 test facts"),
        ({"kl": pd.DataFrame({"case_id": [1, 2, 3, 3]})}, "3 test facts"),
        ({"blocking": pd.DataFrame({"relation": ["all", "all", "P1"], "n": [9, 8, 99]})}, "9 test facts"),
        ({"training": pd.DataFrame({"epoch": range(12)})}, "12 epochs over the training facts"),
        ({"structure": pd.DataFrame({"dimension": range(7)})}, "7 output dimensions; no facts enter"),
        ({"keep": np.ones((2, 2))}, "the mask itself; no facts enter"),
    ],
)
def test_a_figures_caption_names_its_sample(tables_shown, sample):
    caption = figure_caption("figure06", "What is\n  shown.", {"small": tables_shown}, "rome", 2)
    assert caption == f"**Figure 6.** What is shown.\n\nMethod ROME, mask seed 2. small: {sample}.\n"


@pytest.mark.parametrize("name, title", [("figure03", "Figure 3"), ("figure11", "Figure 11"), ("mask_training", "Mask training")])
def test_a_figures_caption_names_the_figure(name, title):
    assert figure_caption(name, "x", {"m": {"keep": 0}}, "rome", 0).startswith(f"**{title}.** x")


def behind(*names: str) -> set[str]:
    files = codehash.files_behind(*(codehash.ROOT / name for name in names))
    return {str(file.relative_to(codehash.ROOT)) for file in files}


@pytest.mark.parametrize(
    "scripts, inside, outside",
    [
        (
            ("edit_facts.py",),
            {"edit_facts.py", "job.py", "onemask/__init__.py", "onemask/rome.py", "onemask/models.py", "onemask/errors.py"},
            {"onemask/figures/style.py", "onemask/corpus.py", "train_mask.py"},
        ),
        (
            ("draw_figure.py", "onemask/figures/figure06.py"),
            {"onemask/figures/__init__.py", "onemask/figures/style.py", "onemask/figures/figure06.py", "onemask/captions.py"},
            {"onemask/rome.py", "onemask/figures/figure07.py", "edit_facts.py"},
        ),
        (("make_table.py",), {"onemask/tables.py", "onemask/schemas.py"}, {"onemask/rome.py", "onemask/figures/style.py"}),
    ],
)
def test_the_code_behind_a_script(scripts, inside, outside):
    found = behind(*scripts)
    assert inside <= found
    assert outside.isdisjoint(found)


def test_no_import_escapes_the_hash():
    """A relative import would: only absolute ones are followed."""
    trees = {file: ast.parse(file.read_text(encoding="utf-8")) for file in codehash.ROOT.rglob("*.py")}
    nodes = [(file, node) for file, tree in trees.items() for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert len(nodes) > 50
    assert [(file.name, node.lineno) for file, node in nodes if node.level] == []


@pytest.fixture
def copied(tmp_path, monkeypatch) -> Path:
    """A copy of the code that `codehash` takes for the project's."""
    folder = shutil.copytree(codehash.ROOT, tmp_path.resolve() / "code", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(codehash, "ROOT", folder)
    codehash._imports.cache_clear()
    yield folder
    codehash._imports.cache_clear()


def hashes() -> dict[str, str]:
    codehash._imports.cache_clear()
    return {file.name: codehash.code_hash(file) for file in codehash.ROOT.glob("*.py")}


def test_the_hash_is_of_the_code_and_not_of_its_place(tmp_path, copied, monkeypatch):
    there = hashes()
    monkeypatch.undo()
    assert hashes() == there


@pytest.mark.parametrize(
    "module, among, not_among",
    [
        ("onemask/rome.py", {"edit_facts.py", "measure_blocking.py"}, {"make_table.py", "draw_figure.py", "fetch_model.py"}),
        ("onemask/tables.py", {"make_table.py"}, {"edit_facts.py", "train_mask.py", "draw_figure.py"}),
        ("onemask/corpus.py", {"fetch_corpus.py"}, {"edit_facts.py", "make_table.py"}),
        ("make_table.py", {"make_table.py"}, {"edit_facts.py", "draw_figure.py"}),
    ],
)
def test_a_change_reaches_the_scripts_that_import_it_and_no_other(copied, module, among, not_among):
    before = hashes()
    users = {name for name in before if module in behind(name)}
    (copied / module).write_bytes((copied / module).read_bytes() + b"# changed\n")
    after = hashes()
    changed = {name for name in before if before[name] != after[name]}
    assert changed == users
    assert among <= changed and not_among.isdisjoint(changed)


def test_a_new_import_is_followed(copied):
    before = hashes()["make_table.py"]
    (copied / "onemask" / "tables.py").open("a").write("import onemask.rome\n")
    assert hashes()["make_table.py"] != before
    assert "onemask/rome.py" in behind("make_table.py")
