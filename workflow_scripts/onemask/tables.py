"""Tables for readers: which measures each of the paper's tables holds, and how they are laid out."""

from dataclasses import dataclass

import pandas as pd

from onemask.captions import table_caption
from onemask.errors import OnemaskError

ROME_SPLITS = ("train", "test", "ood")


@dataclass(frozen=True)
class Selection:
    """Measures of one table: rows whose mask, split and metric are listed (None: any); `by_relation` keeps all relations."""

    title: str
    metrics: tuple[str, ...]
    splits: tuple[str, ...] | None = None
    masks: tuple[str, ...] | None = None
    by_relation: bool = False


COUNTS = (
    "facts", "relations", "unique_objects", "unique_subjects", "unique_mappings", "facts_shared_with_training",
)  # fmt: skip

TABLES = {
    "table1": Selection(
        "RSR and Top-1 overlap of edited models, no mask; `original` is the unedited model",
        ("rsr", "rsr_first_token", "top1", "success"),
        ("train", "test", "ood"),
        ("original", "none"),
    ),
    "table2": Selection(
        "Reversal by the shared mask, with a random mask of the same share and the zeroed layer beside it",
        ("pruned", "rsr", "rsr_first_token", "top1", "kl", "perplexity"),
        ("all", "train", "test", "perplexity"),
    ),
    "table3": Selection(
        "P(o) in the original model against P(o*) in the edited model (first token), paired over the test facts",
        ("p_original", "p_original_sd", "p_edited", "p_edited_sd", "p_value", "cohens_d"),
    ),
    "table4": Selection("ROME data", (*COUNTS, "facts_dropped", "facts_edited"), ROME_SPLITS, by_relation=True),
    "table5": Selection("MEMIT data", COUNTS, ("memit_train", "memit_test")),
    "table7": Selection(
        "Reversal on relations that the mask never saw",
        ("rsr", "rsr_first_token", "top1", "kl"),
        ("ood",),
        by_relation=True,
    ),
}


def select(measures: pd.DataFrame, name: str) -> pd.DataFrame:
    """The rows of a table, in the order of its metrics; OnemaskError when there are none."""
    wanted = TABLES[name]
    chosen = measures[measures["metric"].isin(wanted.metrics)]
    if wanted.splits is not None:
        chosen = chosen[chosen["split"].isin(wanted.splits)]
    if wanted.masks is not None:
        chosen = chosen[chosen["mask"].isin(wanted.masks)]
    if not wanted.by_relation:
        chosen = chosen[chosen["relation"] == "all"]
    if chosen.empty:
        raise OnemaskError(f"measures for {name}", "none", "Run the stages behind it again.")
    order = {metric: i for i, metric in enumerate(wanted.metrics)}
    return chosen.sort_values("metric", key=lambda column: column.map(order), kind="stable").reset_index(drop=True)


def cell(row: pd.Series) -> str:
    """A value as read by people, with its 95% interval where it has one."""
    if row["metric"] in COUNTS or row["metric"] in ("facts_dropped", "facts_edited"):
        return f"{int(row['value']):,}"
    if row["metric"] == "p_value":
        return f"{row['value']:.1e}"
    digits = 1 if row["metric"] == "perplexity" else 3
    text = f"{row['value']:.{digits}f}"
    return text if pd.isna(row["ci_low"]) else f"{text} [{row['ci_low']:.{digits}f}, {row['ci_high']:.{digits}f}]"


def wide(table: pd.DataFrame) -> pd.DataFrame:
    """One line a model, method, mask, seed (and relation); one column a split and metric; cells as text."""
    keys = ["model", "method", "mask", "seed"] + (["relation"] if table["relation"].nunique() > 1 else [])
    several = table["split"].nunique() > 1
    label = table["metric"] if not several else table["split"].where(~table["split"].isin(["all", "perplexity"]), "")
    columns = label if not several else (label + " " + table["metric"]).str.strip()
    texts = table.assign(column=columns, text=table.apply(cell, axis=1))
    order = list(dict.fromkeys(texts["column"]))
    lines = texts.pivot_table(index=keys, columns="column", values="text", aggfunc="first", sort=False)[order]
    return lines.fillna("").reset_index().rename_axis(columns=None)


def markdown(table: pd.DataFrame, name: str) -> str:
    """The table as Markdown, under its caption."""
    lines = wide(table).to_markdown(index=False, disable_numparse=True)
    return f"**{name.replace('table', 'Table ')}.** {table_caption(TABLES[name].title, table)}\n{lines}\n"


STYLE = "body{font-family:sans-serif;font-size:14px}table{border-collapse:collapse}td,th{padding:3px 8px;border-bottom:1px solid #ddd}"


def html(table: pd.DataFrame) -> str:
    """The table as a small page of its own."""
    return (
        f'<!doctype html><meta charset="utf-8"><style>{STYLE}</style>\n{wide(table).to_html(index=False, border=0)}\n'
    )
