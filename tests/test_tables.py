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
from onemask.summaries.measures import EMPTY
from run_configs import read
from test_measures import COLUMNS, one

STATES = ("original", "edited", "shared", "random", "layer_zeroed")
BLOCKED = ("edited", "masked", "masked_weights", "masked_after")
RELATIONS = ("all", "P17", "P30")
CONTROLS = ("random_by_output", "restored", "clipped", "unedited_masked")
SHARED = {"__init__", "compose", "contributions", "panels", "reversal", "style"}  # by several figures
METHODS = ("rome", "r-rome", "ft-l")


def of(state: str, parametrisation: str = "", share: float = math.nan) -> dict:
    return {"state": state, "parametrisation": parametrisation, "share": share}


SHARES = (
    *(of("shared", "sigmoid", share) for share in (0.02, 0.1)),
    of("shared", "hard-concrete", 0.02),
    *(of(state, "topk", 0.1) for state in ("shared", "random")),
    of("restored", "update", 0.02),
    of("zeroed", "columns", 0.3),
)
PATCHED = ("patched_attention", "patched_mlp", "patched_both")
PRUNED = (of("zeroed", "update", 0.1), of("zeroed", "update", 0.3), of("restored", "columns", 0.3))
OF_LAYER = of("shared", "sigmoid", 0.1)
SIZED = tuple({"state": "shared", "training_edits": count} for count in (9, 30))
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
    "editors": 28,
    "controls": 114,
    "mask_shares": 106,
    "training_size": 54,
    "transfer": 72,
    "layers": 48,  # success of the edited state, which two stages measure, stands once
    "blocking_shares": 46,  # the edited state is the same beside every mask
}


def grid(metrics, splits, states, relations=("all",), **key) -> list[dict]:
    """A row for each; states: by name, or by all columns that say which it is."""
    return [
        {"method": "rome"} | EMPTY | {"seed": 0, "metric": metric, "split": split, "relation": relation} | key | shown
        for metric in metrics
        for split in splits
        for shown in ({"state": state} if isinstance(state, str) else state for state in states)
        for relation in relations
    ]


def of_reversal(model: str) -> list[dict]:
    rates = ("rsr", "rsr_first_token", "top1", "kl", "success")
    return [
        *grid(rates, ("train", "test", "ood"), STATES, RELATIONS, model=model),
        *grid(("pruned",), ("all",), STATES[2:], model=model),
        *grid(("p_original", "p_original_sd"), ("test",), ("original",), model=model),
        *grid(("p_edited", "p_edited_sd", "p_value", "cohens_d"), ("test",), ("edited",), model=model),
    ]


def of_facts(model: str) -> list[dict]:
    return [
        *grid(tables.SAMPLE, ("train", "test", "ood"), ("",), model=model, method=""),
        *grid(("facts_dropped", "facts_edited"), ("train", "test"), ("",), RELATIONS, model=model, method=""),
        *grid(tables.OF_FACTS, ("joint_train", "joint_test"), ("",), model=model, method=""),
    ]


def trained(methods) -> list[dict]:
    return [{"state": "shared", "trained_on": method} for method in methods]


def masked(mask: dict) -> list[dict]:
    return [mask | {"state": state} for state in BLOCKED[1:]]


def items(state: str, *numbers: int) -> list[dict]:
    return [{"state": state, "item": str(number)} for number in numbers]


def heads(number: int) -> list[dict]:
    return items("edited", number) + items("shared", number)


BUDGETS = (of("shared", "sigmoid", 0.02), of("shared", "sigmoid", 0.05))
LOOKS = [{"state": state, "item": "true"} for state in ("original", "edited", "shared")] + [{"state": "edited", "item": "new"}]
STAGES = {
    "reversal": of_reversal,
    "facts": of_facts,
    "perplexity": lambda model: grid(("perplexity",), ("perplexity",), STATES, model=model),
    "editing": lambda model: [
        *grid(("success", "token_accuracy"), ("train", "test"), ("edited",), RELATIONS, model=model),
        *grid(("edits", "failed", "unstable", "steps", "truncation"), ("train", "test"), ("edited",), model=model),
    ],
    "blocking": lambda model: grid(("success", "token_accuracy"), ("test",), BLOCKED, RELATIONS, model=model),
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
        *grid(("training_edits", "pruned"), ("all",), SIZED, model=model),
        *grid(("training_edits",), ("all",), ("shared",), model=model),
        *grid(("rsr", "top1"), ("train", "test"), SIZED, RELATIONS, model=model),
    ],
    "transfer": lambda model: [
        row
        for method in METHODS
        for row in grid(
            ("rsr", "top1"), ("test",), ("edited", "random", *trained(METHODS)), RELATIONS, model=model, method=method
        )
        + grid(("training_edits", "pruned"), ("all",), trained(METHODS[:1]), model=model, method=method)
    ],
    "layers": lambda model: [
        *(
            row | {"layer": layer}
            for layer in (18, 5)
            for row in grid(("common_energy", "cosine"), ("all",), ("",), model=model)
            + grid(("success", "rsr", "top1"), ("test",), ("edited", OF_LAYER), RELATIONS, model=model)
            + grid(("success", "token_accuracy"), ("test",), masked(OF_LAYER), RELATIONS, model=model)
            + grid(("token_accuracy",), ("test",), ("edited",), RELATIONS, model=model)
        ),
        *grid(("rank_correlation", "rank_correlation_p"), ("test",), (OF_LAYER,), model=model),
    ],
    "collapse": lambda model: [
        *grid(("perplexity_original",), ("test",), ("original",), model=model),
        *grid(("perplexity_edited",), ("test",), items("edited", 3, 14), model=model),
        *grid(("perplexity_pruned",), ("test",), items("shared", 3, 14), model=model),
    ],
    "structure": lambda model: [
        *grid(("update_norm", "update_mean"), ("test",), ("edited", "shared"), model=model),
        *grid(("high_magnitude",), ("test",), ("shared",), model=model),
        *grid(("output_dimensions", "pruned_of_edited", "top5_pruned"), ("all",), ("shared",), model=model),
        *grid(("dimension_pruned",), ("all",), items("shared", 5, 214), model=model),
    ],
    "mechanism": lambda model: [
        *grid(("mlp_edited", "mlp_later", "attention_later"), ("test",), LOOKS, model=model),
        *grid(("mlp_edited_ratio",), ("test",), ("edited",), model=model),
        *grid(("head_gain",), ("test",), [{"layer": 3} | state for state in heads(1)], model=model),
        *grid(("head_gain",), ("test",), [{"layer": 12} | state for state in heads(0)], model=model),
        *grid(("subject_attention",), ("test",), ("original", "edited"), model=model),
        *grid(("patched_rsr", "patched_top1"), ("test",), ("edited", *PATCHED), model=model),
    ],
    "pruning": lambda model: [
        *grid(("rsr", "top1"), ("test",), PRUNED, RELATIONS, model=model),
        *grid(("pruned",), ("all",), PRUNED, model=model),
        *grid(("share_for_rsr90",), ("test",), (of("zeroed", "update"),), model=model),
    ],
    "blocking_shares": lambda model: [
        *grid(("success", "token_accuracy"), ("test",), BLOCKED, RELATIONS, model=model),
        *grid(
            ("success", "token_accuracy"),
            ("test",),
            [state for mask in BUDGETS for state in masked(mask)],
            RELATIONS,
            model=model,
        ),
        *grid(("pruned",), ("all",), ("shared", *BUDGETS), model=model),
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


def shown(key: str, value: object) -> str:
    """A key's value as a table for readers has it."""
    return "" if pd.isna(value) else value if isinstance(value, str) else f"{value:g}"


@pytest.mark.parametrize("name", sorted(tables.TABLES))
def test_every_measure_stands_in_its_cell(name):
    chosen, layout = selected(name), tables.TABLES[name]
    wide = tables.wide(chosen, name)
    heads = {key: tables.HEADS.get(key, key) for key in ("model", *layout.rows)}
    assert list(wide.columns[: len(heads)]) == list(heads.values())
    for _, row in chosen.iterrows():
        line = one(wide, **{head: shown(key, row[key]) for key, head in heads.items()})
        column = ", ".join(filter(None, (shown(key, row[key]) for key in layout.columns)))
        assert line[column or "value"] == tables.cell(row.to_dict())
    assert (wide.drop(columns=list(heads.values())) != "").to_numpy().sum() == len(chosen)


def test_numbers_of_layers_and_edits_are_whole():
    assert set(tables.wide(selected("layers"), "layers")["layer"]) == {"", "5", "18"}
    assert set(tables.wide(selected("training_size"), "training_size")["mask of edits"]) == {"", "9", "30"}


@pytest.mark.parametrize("name", sorted(tables.TABLES))
def test_a_table_for_readers_shows_every_cell_under_its_caption(name):
    chosen = selected(name)
    caption, shown = tables.caption(chosen, name, "What it shows"), tables.wide(chosen, name)
    text, page = tables.markdown(shown, caption), tables.page(shown, caption)
    _, lines = text.split("\n\n", 1)
    title = f"Table {name[-1]}" if name.startswith("table") else name.replace("_", " ").capitalize()
    assert caption.startswith(f"**{title}.** What it shows. Model ")
    assert lines.startswith("|") and lines.splitlines()[1].startswith("|:--")
    for cell in map(tables.cell, chosen.to_dict("records")):
        assert f"| {cell} " in lines
        assert f"<td>{cell}</td>" in page


def test_masks_and_splits_stand_in_a_readers_order():
    expected = {"table2": STATES, "table4": ("train", "test", "ood"), "blocking": BLOCKED}
    for name, order in expected.items():
        assert tuple(tables.wide(selected(name), name).columns[3:]) == order


def test_rows_are_sorted_by_mask_and_number():
    rows = tables.wide(selected("mask_shares"), "mask_shares")
    keys = rows.loc[rows["model"] == "small", list(tables.OF_A_MASK)].apply(tuple, axis=1).tolist()
    assert keys[:4] == [("", "", state) for state in ("original", "edited", "shared", "layer_zeroed")]
    order = ["sigmoid", "hard-concrete", "topk", "update", "columns"]
    assert keys[4:] == sorted(
        keys[4:], key=lambda key: (order.index(key[0]), float(key[1]), STATES.index(key[2]) if key[2] in STATES else 9)
    )
    assert len(keys[4:]) == len(SHARES)
    sizes = tables.wide(selected("training_size"), "training_size")[["mask of edits", "state"]].drop_duplicates()
    assert sizes.apply(tuple, axis=1).tolist() == [
        ("", "original"),
        ("", "shared"),
        ("", "random"),
        ("9", "shared"),
        ("30", "shared"),
    ]
    layers = tables.wide(selected("layers"), "layers")["layer"].drop_duplicates().tolist()
    assert layers == ["", "5", "18"]


def test_several_seeds_are_a_mean_and_a_spread():
    table = tables.select(measures("reversal", "perplexity"), "table2")
    both = pd.concat([table, table.assign(seed=1, value=table["value"] + 2.0)])
    wide, alone = tables.wide(both, "table2"), tables.wide(table, "table2")
    assert list(wide.columns) == list(alone.columns) and len(wide) == len(alone)
    first = table[
        (table["model"] == "small") & (table["metric"] == "rsr") & (table["split"] == "test") & (table["state"] == "shared")
    ]
    cell = one(wide, model="small", metric="rsr", split="test")["shared"]
    assert cell == f"{first['value'].iloc[0] + 1:.3f} ± {np.std([0.0, 2.0], ddof=1):.3f}"
    assert "standard deviation" in table_caption("t", both) and "standard deviation" not in table_caption("t", table)


@pytest.mark.parametrize(("pruned", "warned"), [(0.0, True), (0.1, False), (1.0, True)])
def test_a_mask_that_prunes_nothing_or_everything_is_named_in_the_table(pruned, warned):
    table = tables.select(measures("reversal", "perplexity"), "table2")
    of_mask = (table["metric"] == "pruned") & (table["state"] == "shared") & (table["model"] == "small")
    text = tables.caption(table.assign(value=table["value"].where(~of_mask, pruned)), "table2", "A title")
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


def test_every_figure_and_table_has_a_caption_and_every_caption_is_of_one():
    captions = read("captions")
    modules = {path.stem for path in Path(figures.__file__).parent.glob("*.py")} - SHARED
    assert set(captions["figures"]) == modules and set(captions["tables"]) == set(tables.TABLES)
    assert not [name for name, text in captions["figures"].items() if re.match(r"figure \d", text, re.I)]  # the report adds it
