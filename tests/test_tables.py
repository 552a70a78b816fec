"""Tables and captions for readers: every measure in its cell, every sample in the caption."""

import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from onemask import figures
from onemask.io.errors import OnemaskError
from onemask.summaries import tables
from onemask.summaries.captions import figure_caption, figure_samples, table_caption
from run_configs import read
from test_measures import COLUMNS, KEY, one

STATES = ("original", "none", "shared", "random", "layer_zeroed")
CONDITIONS = ("none", "masked", "masked_weights", "masked_after")
RELATIONS = ("all", "P17", "P30")
CONTROLS = ("random_by_output", "restored", "clipped", "unedited_masked")
SHARES = ("sigmoid-2", "sigmoid-10", "hard-concrete-2", "topk-10", "random-10", "update-original-2", "columns-zero-30")
SHARED = {"__init__", "compose", "contributions", "panels", "reversal", "style"}  # by several figures
PATCHED, PRUNED = (
    ("patched_attention", "patched_mlp", "patched_both"),
    ("update-zero-10", "update-zero-30", "columns-original-30"),
)
METHODS = ("rome", "r-rome", "ft-l")
LAYER_METHODS = ("rome-layer5", "rome-layer18")
BLOCKED = [f"{metric}_{condition}" for metric in ("success", "token_accuracy") for condition in ("unmasked", *CONDITIONS[1:])]
SIZES = {
    "table1": 48,
    "table2": 96,
    "table3": 12,
    "table4": 60,
    "table5": 32,
    "table6": 10,
    "table7": 120,
    "table8": 10,
    "mechanism": 46,
    "heads": 8,
    "mask_structure": 10,
    "pruning": 20,
    "blocking": 48,
    "editors": 24,
    "controls": 114,
    "mask_shares": 106,
    "training_size": 54,
    "transfer": 72,
    "layers": 52,
    "blocking_shares": 54,
}


def grid(metrics, splits, masks, relations=("all",), **key) -> list[dict]:
    return [
        KEY | {"seed": 0, "metric": metric, "split": split, "mask": mask, "relation": relation} | key
        for metric in metrics
        for split in splits
        for mask in masks
        for relation in relations
    ]


def of_reversal(model: str) -> list[dict]:
    rates = ("rsr", "rsr_first_token", "top1", "kl", "success")
    return [
        *grid(rates, ("train", "test", "ood"), STATES, RELATIONS, model=model),
        *grid(("pruned",), ("all",), STATES[2:], model=model),
        *grid(("p_original", "p_original_sd"), ("test",), ("original",), model=model),
        *grid(("p_edited", "p_edited_sd", "p_value", "cohens_d"), ("test",), ("none",), model=model),
    ]


def of_facts(model: str) -> list[dict]:
    return [
        *grid(tables.SAMPLE, ("train", "test", "ood"), ("none",), model=model),
        *grid(("facts_dropped", "facts_edited"), ("train", "test"), ("none",), RELATIONS, model=model),
        *grid(tables.OF_FACTS, ("joint_train", "joint_test"), ("none",), model=model, method="memit"),
    ]


STAGES = {
    "reversal": of_reversal,
    "facts": of_facts,
    "perplexity": lambda model: grid(("perplexity",), ("perplexity",), STATES, model=model),
    "editing": lambda model: [
        *grid(("success", "token_accuracy"), ("train", "test"), ("none",), RELATIONS, model=model),
        *grid(("edits", "failed", "steps", "truncation"), ("train", "test"), ("none",), model=model),
    ],
    "blocking": lambda model: grid(("success", "token_accuracy"), ("test",), CONDITIONS, RELATIONS, model=model),
    "controls": lambda model: [
        *grid(("rsr", "top1", "kl"), ("test",), CONTROLS, RELATIONS, model=model),
        *grid(("perplexity",), ("perplexity",), CONTROLS, model=model),
        *grid(("neighborhood", "neighborhood_top1"), ("test",), (*STATES, *CONTROLS), model=model),
    ],
    "shares": lambda model: [
        *grid(("pruned",), ("all",), SHARES, model=model),
        *grid(("rsr", "top1", "kl"), ("test",), SHARES, RELATIONS, model=model),
        *grid(("perplexity",), ("perplexity",), SHARES, model=model),
    ],
    "sizes": lambda model: [
        *grid(("training_edits", "pruned"), ("all",), ("edits9", "edits30"), model=model),
        *grid(("training_edits",), ("all",), ("shared",), model=model),
        *grid(("rsr", "top1"), ("train", "test"), ("edits9", "edits30"), RELATIONS, model=model),
    ],
    "transfer": lambda model: [
        row
        for method in METHODS
        for row in grid(("rsr", "top1"), ("test",), ("none", "random", *METHODS), RELATIONS, model=model, method=method)
        + grid(("training_edits", "pruned"), ("all",), METHODS[:1], model=model, method=method)
    ],
    "layers": lambda model: [
        *(
            row
            for method in LAYER_METHODS
            for row in grid(("common_energy", "cosine"), ("all",), ("none",), model=model, method=method)
            + grid(("success", "rsr", "top1"), ("test",), ("none", "sigmoid-10"), RELATIONS, model=model, method=method)
            + grid(BLOCKED, ("test",), ("sigmoid-10",), RELATIONS, model=model, method=method)
        ),
        *grid(("rank_correlation", "rank_correlation_p"), ("test",), ("sigmoid-10",), model=model),
    ],
    "collapse": lambda model: [
        *grid(("perplexity_original",), ("test",), ("original",), model=model),
        *grid(("perplexity_edited",), ("test",), ("none",), ("case 3", "case 14"), model=model),
        *grid(("perplexity_pruned",), ("test",), ("shared",), ("case 3", "case 14"), model=model),
    ],
    "structure": lambda model: [
        *grid(("update_norm", "update_mean"), ("test",), ("none", "shared"), model=model),
        *grid(("high_magnitude",), ("test",), ("shared",), model=model),
        *grid(("output_dimensions", "pruned_of_edited", "top5_pruned"), ("all",), ("shared",), model=model),
        *grid(("dimension_pruned",), ("all",), ("shared",), ("dimension 5", "dimension 214"), model=model),
    ],
    "mechanism": lambda model: [
        *grid(("mlp_edited", "mlp_later", "attention_later"), ("test",), (*STATES[:3], "edited_true"), model=model),
        *grid(("mlp_edited_ratio",), ("test",), ("none",), model=model),
        *grid(("head_gain",), ("test",), ("none", "shared"), ("head 3.1", "head 12.0"), model=model),
        *grid(("subject_attention",), ("test",), ("original", "none"), model=model),
        *grid(("patched_rsr", "patched_top1"), ("test",), ("none", *PATCHED), model=model),
    ],
    "pruning": lambda model: [
        *grid(("rsr", "top1"), ("test",), PRUNED, RELATIONS, model=model),
        *grid(("pruned",), ("all",), PRUNED, model=model),
        *grid(("share_for_rsr90",), ("test",), ("update-zero",), model=model),
    ],
    "blocking_shares": lambda model: [
        *grid(BLOCKED, ("test",), ("shared", "sigmoid-2", "sigmoid-5"), RELATIONS, model=model),
        *grid(("pruned",), ("all",), ("shared", "sigmoid-2", "sigmoid-5"), model=model),
    ],
}


def measures(*stages: str) -> pd.DataFrame:
    """Two models' measures of these stages, each value its own, in an order without meaning."""
    rows = [row for stage in stages for model in ("small", "large") for row in STAGES[stage](model)]
    frame = pd.DataFrame(rows).assign(n=40)
    frame["value"] = 1000.0 + np.arange(len(frame))
    frame["ci_low"], frame["ci_high"] = frame["value"] - 0.5, frame["value"] + 0.5
    exact = frame["metric"].isin([*tables.COUNTS, "pruned", "p_value", "cohens_d", "steps", "truncation", "cosine"])
    frame.loc[exact, ["ci_low", "ci_high"]] = math.nan
    return frame.sample(frac=1, random_state=0)[COLUMNS]


def selected(name: str) -> pd.DataFrame:
    """What a table takes of the stages that stand behind it."""
    own = {
        "table6": ("collapse",),
        "table8": ("structure",),
        "mask_structure": ("structure",),
        "mechanism": ("mechanism",),
        "heads": ("mechanism",),
        "pruning": ("pruning",),
        "blocking": ("blocking",),
        "editors": ("editing",),
        "controls": ("reversal", "perplexity", "controls"),
        "mask_shares": ("reversal", "perplexity", "shares"),
        "training_size": ("reversal", "sizes"),
        "transfer": ("transfer",),
        "layers": ("layers",),
        "blocking_shares": ("blocking_shares",),
    }
    stages = own.get(name, ("reversal", "perplexity", "facts"))
    return tables.select(measures(*stages), name)


@pytest.mark.parametrize("name, size", SIZES.items())
def test_a_table_takes_its_measures_whole(name, size):
    chosen, wanted = selected(name), tables.TABLES[name]
    assert list(chosen.columns) == COLUMNS
    assert len(chosen) == size
    assert set(chosen["metric"]) == set(wanted.metrics)
    assert (set(chosen["relation"]) == {"all"}) != wanted.by_relation


def test_every_table_is_tested():
    assert set(tables.TABLES) == set(SIZES)


@pytest.mark.parametrize("name", sorted(tables.TABLES))
def test_every_measure_stands_in_its_cell(name):
    chosen, layout = selected(name), tables.TABLES[name]
    wide = tables.wide(chosen, name)
    rows = ["model", *(["method"] if name == "layers" else []), *layout.rows]
    assert list(wide.columns[: len(rows)]) == rows
    column = layout.columns[0] if layout.columns else None
    for _, row in chosen.iterrows():
        line = one(wide, **{key: row[key] for key in rows})
        assert line[row[column] if column else "value"] == tables.cell(row.to_dict())
    assert (wide.drop(columns=rows) != "").to_numpy().sum() == len(chosen)


@pytest.mark.parametrize("name", sorted(tables.TABLES))
def test_a_table_for_readers_shows_every_cell_under_its_caption(name):
    chosen = selected(name)
    caption, shown = tables.caption(chosen, name), tables.wide(chosen, name)
    text, page = tables.markdown(shown, caption), tables.page(shown, caption)
    _, lines = text.split("\n\n", 1)
    title = f"Table {name[-1]}" if name.startswith("table") else name.replace("_", " ").capitalize()
    assert caption.startswith(f"**{title}.** {tables.TABLES[name].title}. Model ")
    assert lines.startswith("|") and lines.splitlines()[1].startswith("|:--")
    for cell in map(tables.cell, chosen.to_dict("records")):
        assert f"| {cell} " in lines
        assert f"<td>{cell}</td>" in page


def test_masks_and_splits_stand_in_a_readers_order():
    expected = {"table2": STATES, "table4": ("train", "test", "ood"), "blocking": CONDITIONS}
    for name, order in expected.items():
        assert tuple(tables.wide(selected(name), name).columns[3:]) == order


def test_rows_are_sorted_by_method_mask_and_number():
    rows = tables.wide(selected("mask_shares"), "mask_shares")
    shown = rows.loc[rows["model"] == "small", "mask"].tolist()
    assert shown[:4] == ["original", "none", "shared", "layer_zeroed"]
    assert shown[4:] == sorted(SHARES, key=lambda name: (name.rpartition("-")[0], float(name.rpartition("-")[2])))
    sizes = tables.wide(selected("training_size"), "training_size")["mask"].drop_duplicates().tolist()
    assert sizes == ["original", "shared", "random", "edits9", "edits30"]


def test_several_seeds_are_a_mean_and_a_spread():
    table = tables.select(measures("reversal", "perplexity"), "table2")
    both = pd.concat([table, table.assign(seed=1, value=table["value"] + 2.0)])
    wide, alone = tables.wide(both, "table2"), tables.wide(table, "table2")
    assert list(wide.columns) == list(alone.columns) and len(wide) == len(alone)
    first = table[
        (table["model"] == "small") & (table["metric"] == "rsr") & (table["split"] == "test") & (table["mask"] == "shared")
    ]
    cell = one(wide, model="small", metric="rsr", split="test")["shared"]
    assert cell == f"{first['value'].iloc[0] + 1:.3f} ± {np.std([0.0, 2.0], ddof=1):.3f}"
    assert "standard deviation" in table_caption("t", both) and "standard deviation" not in table_caption("t", table)


@pytest.mark.parametrize(("pruned", "warned"), [(0.0, True), (0.1, False), (1.0, True)])
def test_a_mask_that_prunes_nothing_or_everything_is_named_in_the_table(pruned, warned):
    table = tables.select(measures("reversal", "perplexity"), "table2")
    of_mask = (table["metric"] == "pruned") & (table["mask"] == "shared") & (table["model"] == "small")
    text = tables.caption(table.assign(value=table["value"].where(~of_mask, pruned)), "table2")
    assert ("Warning" in text) == warned
    assert (f"shared of small, seed 0 ({pruned:.0%})" in text) == warned


def test_states_that_masks_share_stand_once():
    twice = pd.concat([measures("reversal", "perplexity"), measures("reversal", "perplexity")])
    assert len(tables.select(twice, "table2")) == SIZES["table2"]


@pytest.mark.parametrize("name", sorted(tables.TABLES))
def test_a_table_without_measures_is_refused(name):
    with pytest.raises(OnemaskError, match=f"measures for {name}"):
        tables.select(measures("reversal").assign(metric="other"), name)


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
    assert tables.cell({"metric": metric, "value": value, "ci_low": low, "ci_high": high}) == text


def test_a_tables_caption_names_its_sample():
    table = measures("reversal")
    table = table[table["split"].isin(["test", "all"]) & (table["method"] == "rome")]
    table.loc[(table["split"] == "test") & (table["relation"] == "all"), "n"] = 170
    caption = table_caption("A title", table[table["model"] == "small"])
    assert caption.startswith("A title. Model small; method ROME; seed 0; test: n = 170.")
    assert "95% bootstrap intervals" in caption
    assert "all: n" not in caption


CASES = pd.DataFrame({"case_id": [1, 1, 2]})


@pytest.mark.parametrize(
    "shown, sample",
    [
        ({"decomposition": CASES, "layers": [3]}, "2 test facts"),
        ({"activations": pd.DataFrame({"facts": [7, 7]}), "structure": CASES}, "7 test facts"),
        ({"kl": CASES, "reversal": CASES}, "2 test facts"),
        ({"blocking": pd.DataFrame({"relation": ["all", "all", "P1"], "n": [9, 8, 99]})}, "9 test facts"),
        ({"measures": pd.DataFrame({"metric": ["rsr", "kl"], "n": [9, 99], "method": "rome"})}, "ROME; 9 facts at most"),
        ({"training": pd.DataFrame({"epoch": range(12)})}, "12 epochs over the training facts"),
        ({"structure": pd.DataFrame({"dimension": range(7)})}, "7 output dimensions; no facts enter"),
    ],
)
def test_a_figures_caption_names_its_sample(shown, sample):
    caption = figure_caption("figure06", "What P(o*) is.", figure_samples({"small, ROME": shown}), ["test"], 2)
    assert caption == f"**Figure 6.** What P(o\\*) is.\n\nsmall, ROME: {sample}. Split test; mask seed 2.\n"


@pytest.mark.parametrize(
    "name, title",
    [("figure03", "Figure 3"), ("figure11", "Figure 11"), ("mask_training", "Mask training")],
)
def test_a_figures_caption_begins_with_its_name(name, title):
    caption = figure_caption(name, "A.", {}, ["test"], 0, released=True)
    assert caption.startswith(f"**{title}.** A. Computed as in the released code (as_released).\n")


def test_every_figure_has_a_caption_and_every_caption_a_figure():
    captions = read("captions")
    modules = {path.stem for path in Path(figures.__file__).parent.glob("*.py")} - SHARED
    assert set(captions) == modules
    assert not [name for name, text in captions.items() if re.match(r"figure \d", text, re.I)]  # the report adds the number
