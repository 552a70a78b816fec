"""Tables for readers: which measures each of the paper's tables holds, and how they are laid out."""

import math
import re
from dataclasses import dataclass
from html import escape
from typing import Any

import pandas as pd

from onemask.data.splits import SPLITS
from onemask.editors.registry import EDITORS
from onemask.io.errors import OnemaskError
from onemask.summaries.captions import table_caption
from onemask.summaries.measures import KEY

ALL_SPLITS = tuple(SPLITS)
TEST_SPLITS = tuple(name for name, split in SPLITS.items() if split.role == "test")
TRAIN_SPLITS = tuple(name for name, split in SPLITS.items() if split.role == "train")
REVERSED = ("original", "edited", "shared", "random", "layer_zeroed")
BLOCKED = ("edited", "masked", "masked_weights", "masked_after")
ORDER = (
    *("original", "edited", "shared", "random", "random_by_output", "restored", "clipped", "layer_zeroed", "unedited_masked"),
    *("patched_attention", "patched_mlp", "patched_both", "left_out", "shuffled", *BLOCKED[1:], "zeroed"),
    *("sigmoid", "hard-concrete", "topk", "update", "magnitude", "columns", "activation"),
    *SPLITS,
    *EDITORS,
)


@dataclass(frozen=True)
class Selection:
    """One table: its measures (None: any) and its layout.

    states: of rows that are of no study's mask, all metrics' or by metric. studies: are rows of studies' masks, which have a
    share, in it too? by_relation keeps the single relations beside "all". rows, columns: keys of a measure; model and method
    come first in the rows where there are several.
    """

    metrics: tuple[str, ...]
    splits: tuple[str, ...] | None = None
    states: tuple[str, ...] | dict[str, tuple[str, ...]] | None = None
    studies: bool = False
    by_relation: bool = False
    rows: tuple[str, ...] = ("metric", "split")
    columns: tuple[str, ...] = ("state",)


SAMPLE = ("facts", "relations", "unique_objects", "unique_subjects", "unique_mappings", "facts_shared_with_training")
OF_FACTS = (*SAMPLE, "facts_dropped", "facts_edited")
DEVIATING = ("table3", "mechanism")  # what as_released changes
COUNTS = (*OF_FACTS, "edits", "failed", "unstable", "training_edits", "output_dimensions")
OF_A_MASK = ("parametrisation", "share", "state")
HEADS = {"training_edits": "mask of edits", "trained_on": "mask of"}  # of columns of keys, beside metrics of the same name

TABLES = {
    "table1": Selection(("rsr", "rsr_first_token", "top1", "success"), ALL_SPLITS, ("original", "edited")),
    "table2": Selection(
        ("pruned", "rsr", "rsr_first_token", "top1", "kl", "perplexity"),
        splits=("all", *(name for name in ALL_SPLITS if SPLITS[name].role != "ood"), "perplexity"),
        states=REVERSED,
    ),
    "controls": Selection(
        ("pruned", "rsr", "top1", "kl", "neighborhood", "neighborhood_top1", "perplexity"),
        splits=("all", *TEST_SPLITS, "perplexity"),
        rows=("state",),
        columns=("metric",),
    ),
    "mask_shares": Selection(
        ("pruned", "rsr", "top1", "kl", "perplexity"),
        splits=("all", *TEST_SPLITS, "perplexity"),
        states=("original", "edited", "shared", "layer_zeroed"),
        studies=True,
        rows=OF_A_MASK,
        columns=("metric",),
    ),
    "training_size": Selection(
        ("training_edits", "pruned", "rsr", "top1"),
        splits=("all", *TRAIN_SPLITS, *TEST_SPLITS),
        states=("original", "shared", "random"),
        rows=("training_edits", "state", "split"),
        columns=("metric",),
    ),
    "transfer": Selection(
        ("rsr", "top1", "pruned", "training_edits"), rows=("metric", "state", "trained_on"), columns=("method",)
    ),
    "layers": Selection(
        (
            *("common_energy", "cosine", "success", "token_accuracy", "rsr", "top1"),
            *("rank_correlation", "rank_correlation_p"),
        ),
        states={"success": (*REVERSED, "masked"), "token_accuracy": ("edited", "masked")},
        studies=True,
        rows=("layer", "state"),
        columns=("metric",),
    ),
    "blocking_shares": Selection(
        ("pruned", "success", "token_accuracy"),
        splits=("all", *TEST_SPLITS),
        states={"pruned": ("shared",), "success": BLOCKED, "token_accuracy": BLOCKED},
        studies=True,
        rows=("parametrisation", "share"),
        columns=("metric", "state"),
    ),
    "table3": Selection(
        ("p_original", "p_original_sd", "p_edited", "p_edited_sd", "p_value", "cohens_d"), rows=("metric",), columns=()
    ),
    "table4": Selection(OF_FACTS, ("train", "test", "ood"), by_relation=True, rows=("relation", "metric"), columns=("split",)),
    "table5": Selection(OF_FACTS, ("joint_train", "joint_test"), rows=("metric",), columns=("split",)),
    "table6": Selection(("perplexity_original", "perplexity_edited", "perplexity_pruned"), rows=("item",), columns=("metric",)),
    "table8": Selection(("update_norm", "update_mean", "high_magnitude"), rows=("metric",)),
    "mask_structure": Selection(
        ("output_dimensions", "pruned_of_edited", "top5_pruned", "dimension_pruned"), rows=("metric", "item")
    ),
    "mechanism": Selection(
        (
            *("mlp_edited", "mlp_edited_ratio", "mlp_later", "attention_later", "subject_attention"),
            *("patched_rsr", "patched_top1"),
        ),
        rows=("metric", "item"),
    ),
    "heads": Selection(("head_gain",), rows=("layer", "item")),
    "pruning": Selection(("pruned", "rsr", "top1", "share_for_rsr90"), studies=True, rows=OF_A_MASK, columns=("metric",)),
    "table7": Selection(
        ("rsr", "rsr_first_token", "top1", "kl"),
        splits=("ood",),
        states=REVERSED,
        by_relation=True,
        rows=("metric", "relation"),
    ),
    "editors": Selection(
        ("edits", "success", "token_accuracy", "failed", "unstable", "steps", "truncation"), rows=("split",), columns=("metric",)
    ),
    "blocking": Selection(("success", "token_accuracy"), states=BLOCKED, by_relation=True, rows=("metric", "relation")),
}


def _in_states(measures: pd.DataFrame, wanted: Selection) -> pd.Series:
    """Which rows are of the states that a table shows."""
    of_studies = measures["share"].notna()
    if isinstance(states := wanted.states, dict):  # which holds of studies' masks too
        pairs = zip(measures["metric"], measures["state"], strict=True)
        shown = pd.Series([state in states.get(metric, (state,)) for metric, state in pairs], index=measures.index)
        return shown & (~of_studies | wanted.studies)
    shown = measures["state"].isin(measures["state"] if states is None else states)
    return (shown & ~of_studies) | (of_studies & wanted.studies)


def select(measures: pd.DataFrame, name: str) -> pd.DataFrame:
    """The rows of a table, each once, in the order of its metrics; OnemaskError when there are none.

    Masks of one study share their original and edited states, which stand in the measures of each.
    """
    wanted = TABLES[name]
    measures = measures.drop_duplicates(KEY)
    rows = measures[measures["metric"].isin(wanted.metrics)]
    if wanted.splits is not None:
        rows = rows[rows["split"].isin(wanted.splits)]
    rows = rows[_in_states(rows, wanted)]
    if not wanted.by_relation:
        rows = rows[rows["relation"] == "all"]
    if rows.empty:
        raise OnemaskError(f"measures for {name}", "none", "Run the stages behind it again.")
    order = {metric: i for i, metric in enumerate(wanted.metrics)}
    ranks: dict[str, Any] = {"metric": order.get} | dict.fromkeys(
        ("state", "method", "split", "parametrisation", "trained_on"), _rank
    )
    ranks |= dict.fromkeys(("layer", "share", "training_edits"), _number)
    by = [key for key in ("method", *wanted.rows, "metric", *wanted.columns) if key in ranks]
    return rows.sort_values(
        list(dict.fromkeys(by)), key=lambda column: column.map(ranks[column.name]), kind="stable"
    ).reset_index(drop=True)


def _rank(name: str) -> tuple:
    """Where a name of a state, method or split stands: known ones in their order, others by their text."""
    return (0, ORDER.index(name), "") if name in ORDER else (1 if name else -1, 0, name)


def _number(value: float) -> float:
    """Where a number stands; what has none comes first."""
    return -math.inf if pd.isna(value) else float(value)


def cell(row: dict) -> str:
    """A value as read by people, with its 95% interval where it has one."""
    if row["metric"] in COUNTS:
        return f"{int(row['value']):,}"
    if row["metric"] == "p_value":
        return f"{row['value']:.1e}"
    if row["metric"] == "update_mean":
        return f"{row['value']:.2e}"
    digits = 1 if row["metric"].startswith(("perplexity", "steps")) else 3
    text = f"{row['value']:.{digits}f}"
    return text if pd.isna(row["ci_low"]) else f"{text} [{row['ci_low']:.{digits}f}, {row['ci_high']:.{digits}f}]"


def over_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """Cells of a table by every key but the seed: the value, or mean +- standard deviation where there are several seeds."""
    keys = [key for key in KEY if key != "seed"]
    rows = []
    for _, part in table.groupby(keys, sort=False, dropna=False):
        first = part.iloc[0].to_dict()
        text = cell(first)
        if len(part) > 1 and part["value"].nunique() > 1:
            moments = (part["value"].mean(), part["value"].std(ddof=1))
            text = " ± ".join(cell(first | {"value": value, "ci_low": math.nan}) for value in moments)
        rows.append(first | {"value": text})
    return pd.DataFrame(rows)


def wide(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """The table as laid out for people; cells are text, empty where nothing was measured."""
    layout = TABLES[name]
    shown = [*layout.rows, *layout.columns]
    several = [key for key in ("model", "method") if key not in shown and table[key].nunique() > 1]
    cells = over_seeds(table)
    for key in shown:
        cells[key] = ["" if pd.isna(value) else value if isinstance(value, str) else f"{value:g}" for value in cells[key]]
    texts = cells.set_index([*several, *layout.rows, *layout.columns])["value"]
    if layout.columns:
        rank = layout.metrics.index if layout.columns[0] == "metric" else _rank
        texts = texts.unstack(list(layout.columns), sort=False)
        order = sorted(texts.columns, key=lambda names: rank(names[0] if isinstance(names, tuple) else names))
        texts = texts[order]
        texts.columns = [", ".join(filter(None, names)) if isinstance(names, tuple) else names for names in texts.columns]
    return texts.fillna("").rename_axis(index=HEADS).reset_index()


def caption(table: pd.DataFrame, name: str, text: str, as_released: bool = False) -> str:
    """The table's name, text and sample, in reStructuredText."""
    title = name.replace("table", "table ").replace("_", " ").capitalize()
    note = ". Computed as in the released code (as_released)" * (as_released and name in DEVIATING)
    return f"**{title}.** {table_caption(text + note, table)}"


def markdown(shown: pd.DataFrame, caption: str) -> str:
    """A table of texts as Markdown, under its caption."""
    return f"{caption}\n{shown.to_markdown(index=False, disable_numparse=True)}\n"


STYLE = (
    "body{font-family:sans-serif;font-size:14px}"
    "table{border-collapse:collapse}"
    "td,th{padding:3px 8px;border-bottom:1px solid #ddd;text-align:left;white-space:nowrap}"
    "p{max-width:60em}"
)


def document(*parts: str, style: str = STYLE) -> str:
    """A small HTML page of its own of these parts."""
    return "\n".join([f'<!doctype html><meta charset="utf-8"><style>{style}</style>', *parts]) + "\n"


def page(shown: pd.DataFrame, caption: str, style: str = STYLE) -> str:
    """A table of texts as a small page of its own, its caption (reStructuredText with bold words at most) below it."""
    words = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", escape(caption)).replace("\\", "")
    return document(shown.to_html(index=False, border=0), f"<p>{words}</p>", style=style)
