"""Tables for readers: which measures each of the paper's tables holds, and how they are laid out."""

import math
import re
from dataclasses import dataclass
from html import escape

import pandas as pd

from onemask.data.splits import SPLITS
from onemask.editors.registry import EDITORS, listed
from onemask.io.errors import OnemaskError
from onemask.summaries.captions import table_caption
from onemask.summaries.measures import KEY

ALL_SPLITS = tuple(SPLITS)
TEST_SPLITS = tuple(name for name, split in SPLITS.items() if split.role == "test")
ORDER = (
    *("original", "none", "shared", "random", "random_by_output", "restored", "clipped", "layer_zeroed", "unedited_masked"),
    *("edited_true", "patched_attention", "patched_mlp", "patched_both"),
    *("left_out", "shuffled", "masked", "masked_weights", "masked_after"),
    *SPLITS,
    *EDITORS,
)


@dataclass(frozen=True)
class Selection:
    """One table: its measures (None: any) and its layout.

    masks: pattern that the whole name must match. by_relation keeps the single relations beside "all". rows, columns: keys of
    a measure; model and method come first in the rows where there are several.
    """

    title: str
    metrics: tuple[str, ...]
    splits: tuple[str, ...] | None = None
    masks: str | None = None
    by_relation: bool = False
    rows: tuple[str, ...] = ("metric", "split")
    columns: tuple[str, ...] = ("mask",)


SAMPLE = ("facts", "relations", "unique_objects", "unique_subjects", "unique_mappings", "facts_shared_with_training")
OF_FACTS = (*SAMPLE, "facts_dropped", "facts_edited")
DEVIATING = ("table3", "mechanism")  # what as_released changes
COUNTS = (*OF_FACTS, "edits", "failed", "training_edits", "output_dimensions")

TABLES = {
    "table1": Selection(
        'RSR and Top-1 overlap of edited models without a mask ("none"), beside the unedited model ("original")',
        metrics=("rsr", "rsr_first_token", "top1", "success"),
        splits=ALL_SPLITS,
        masks="original|none",
    ),
    "table2": Selection(
        "Reversal by the shared mask, with a random mask of the same share and the zeroed layer as controls",
        metrics=("pruned", "rsr", "rsr_first_token", "top1", "kl", "perplexity"),
        splits=("all", "train", "test", "joint_train", "joint_test", "perplexity"),
        masks="original|none|shared|random|layer_zeroed",
    ),
    "controls": Selection(
        "What the shared mask must beat, on the test facts. random: equal share; random_by_output: equal share in each output "
        "dimension; restored: the weights before the edit at the pruned places; clipped: the edit's norm reduced as the mask "
        "does; layer_zeroed: the whole matrix; unedited_masked: the mask over the unedited model; left_out: masks that saw no "
        "edit of the fact's relation; shuffled: a mask trained with original and edited exchanged in a random half of the "
        "edits. neighborhood: share of neighbourhood prompts with P(o) > P(o*), neighborhood_top1: with the original Top-1",
        metrics=("pruned", "rsr", "top1", "kl", "neighborhood", "neighborhood_top1", "perplexity"),
        splits=("all", *TEST_SPLITS, "perplexity"),
        rows=("mask",),
        columns=("metric",),
    ),
    "mask_shares": Selection(
        "Masks of equal pruned share, on the test facts: three parametrisations, a random mask, and pruning the largest weights "
        "without training (by update, edited weight, column norm or mean activation; filled with zero or the original value)",
        metrics=("pruned", "rsr", "top1", "kl", "perplexity"),
        splits=("all", *TEST_SPLITS, "perplexity"),
        masks=r"original|none|shared|layer_zeroed|.*-[0-9.]+",
        rows=("mask",),
        columns=("metric",),
    ),
    "training_size": Selection(
        "Masks trained on fewer edits (a tenth of them held out for validation; about the same number of steps, and but for "
        "shared exactly the same pruned share); train: the edits that the mask was trained on",
        metrics=("training_edits", "pruned", "rsr", "top1"),
        splits=("all", "train", "joint_train", *TEST_SPLITS),
        masks=r"shared|edits[0-9]+|original|random",
        rows=("mask", "split"),
        columns=("metric",),
    ),
    "transfer": Selection(
        "RSR on the test edits of each method (columns) under the mask that was trained on the edits of another (rows); "
        "none: no mask, random: a random mask of the share of the first. Facts that any of the masks was trained on are left out",
        metrics=("rsr", "top1", "pruned", "training_edits"),
        rows=("metric", "mask"),
        columns=("method",),
    ),
    "layers": Selection(
        "The first method in several layers: common key energy and mean cosine of keys, editing success and reversal by a mask "
        "of the layer on the test facts, and success under that mask (both metrics); rank_correlation: Spearman's, of common "
        "energy and the mask's RSR over these layers (interval over facts, layers held fixed; p-value over orders of the layers)",
        metrics=(
            *("common_energy", "cosine", "success", "rsr", "top1", "success_unmasked", "success_masked"),
            *("token_accuracy_unmasked", "token_accuracy_masked", "rank_correlation", "rank_correlation_p"),
        ),
        rows=("mask",),
        columns=("metric",),
    ),
    "blocking_shares": Selection(
        "Editing success on the test facts by the share that the mask prunes: without it (unmasked), with it active throughout "
        "(masked), on the old weights only (masked_weights), and put on an unblocked edit (masked_after)",
        metrics=(
            "pruned",
            *(
                f"{metric}_{condition}"
                for metric in ("success", "token_accuracy")
                for condition in ("unmasked", "masked", "masked_weights", "masked_after")
            ),
        ),
        masks=r"shared|(sigmoid|hard-concrete|topk)-[0-9.]+",
        rows=("mask",),
        columns=("metric",),
    ),
    "table3": Selection(
        "P(o) in the original model against P(o*) in the edited model (first token), paired over the test facts",
        metrics=("p_original", "p_original_sd", "p_edited", "p_edited_sd", "p_value", "cohens_d"),
        rows=("metric",),
        columns=(),
    ),
    "table4": Selection(
        "ROME data, and the facts left out because the model does not know them",
        metrics=OF_FACTS,
        splits=("train", "test", "ood"),
        by_relation=True,
        rows=("relation", "metric"),
        columns=("split",),
    ),
    "table5": Selection(
        "MEMIT data, and the facts left out because the model does not know them",
        metrics=OF_FACTS,
        splits=("joint_train", "joint_test"),
        rows=("metric",),
        columns=("split",),
    ),
    "table6": Selection(
        "The edits with the largest perplexity of all test edits, before and under the shared mask (all: the unedited model). "
        "The paper (GPT-2 XL): from 748 to 21,840,210 edited, 32 to 55 pruned",
        metrics=("perplexity_original", "perplexity_edited", "perplexity_pruned"),
        by_relation=True,
        rows=("relation",),
        columns=("metric",),
    ),
    "table8": Selection(
        "Size of the updates at all places of the edited matrix (none) and at those that the mask prunes (shared): Frobenius "
        "norm, and mean absolute change; high_magnitude: share of pruned places among as many of largest change (a random mask: "
        "its share). "
        "The paper prints a norm (GPT-2 XL: 18.47 and 1.85; Llama-3.2-3B: 3.91 and 0.57)",
        metrics=("update_norm", "update_mean", "high_magnitude"),
        rows=("metric",),
    ),
    "mask_structure": Selection(
        "The five output dimensions of which the mask prunes most (figure 12; top5_pruned: the least of them). pruned_of_edited: "
        "pruned share of the weights of all edited layers",
        metrics=("output_dimensions", "pruned_of_edited", "top5_pruned", "dimension_pruned"),
        by_relation=True,
        rows=("metric", "relation"),
    ),
    "mechanism": Selection(
        "What keeps an edit up? Contributions to the logit (of the original fact in the original, the edited (edited_true) and "
        "the masked model; of the edited fact in the edited model, none): MLP of the edited layers, MLPs and attention of all "
        "later ones. subject_attention: mean attention weight, in later layers, of the last position on the subject's last "
        "token. "
        "patched: the edited model with outputs of attention, MLP or both of all later layers at the last position as in the "
        "original model; how often the original fact (first token) and the original Top-1 return",
        metrics=(
            *("mlp_edited", "mlp_edited_ratio", "mlp_later", "attention_later", "subject_attention"),
            *("patched_rsr", "patched_top1"),
        ),
        rows=("metric",),
    ),
    "heads": Selection(
        "The heads (layer.head) whose attention weight from the last position to the subject's last token an edit raises most: "
        "gain over the original model in the edited (none) and in the masked model (shared)",
        metrics=("head_gain",),
        by_relation=True,
        rows=("relation",),
    ),
    "pruning": Selection(
        "Pruning the largest weights without training (figure 14), by update, edited weight, column norm or mean activation, "
        "filled with zero or the original value: RSR and Top-1; share_for_rsr90: the least share at which RSR is 0.9",
        metrics=("pruned", "rsr", "top1", "share_for_rsr90"),
        rows=("mask",),
        columns=("metric",),
    ),
    "table7": Selection(
        "Reversal on relations that the mask never saw",
        metrics=("rsr", "rsr_first_token", "top1", "kl"),
        splits=("ood",),
        masks="original|none|shared|random|layer_zeroed",
        by_relation=True,
        rows=("metric", "relation"),
    ),
    "editors": Selection(
        "Editing success of every method: share of facts with P(o*) > P(o) (success) and with the new object predicted token by "
        "token (token_accuracy); failed: edits without a finite loss; steps: mean losses computed; truncation: mean relative "
        "error of the kept factors (FT-L's update is of full rank). "
        + listed([name for name, editor in EDITORS.items() if not editor.joint], "and")
        + " edit each fact on its own, the others all at once; methods that are only compared edit the first facts of each "
        "relation",
        metrics=("edits", "success", "token_accuracy", "failed", "steps", "truncation"),
        rows=("split",),
        columns=("metric",),
    ),
    "blocking": Selection(
        "Editing success without the mask (none), with the mask active throughout (masked), with the mask on the old weights "
        "but not on the update (masked_weights), and with the mask put on an unblocked edit (masked_after)",
        metrics=("success", "token_accuracy"),
        masks="none|masked.*",
        by_relation=True,
        rows=("metric", "relation"),
    ),
}


def select(measures: pd.DataFrame, name: str) -> pd.DataFrame:
    """The rows of a table, each once, in the order of its metrics; OnemaskError when there are none.

    Masks of one study share their original and edited states, which stand in the measures of each.
    """
    wanted = TABLES[name]
    measures = measures.drop_duplicates(KEY)
    chosen = measures[measures["metric"].isin(wanted.metrics)]
    if wanted.splits is not None:
        chosen = chosen[chosen["split"].isin(wanted.splits)]
    if wanted.masks is not None:
        chosen = chosen[chosen["mask"].str.fullmatch(wanted.masks)]
    if not wanted.by_relation:
        chosen = chosen[chosen["relation"] == "all"]
    if chosen.empty:
        raise OnemaskError(f"measures for {name}", "none", "Run the stages behind it again.")
    order = {metric: i for i, metric in enumerate(wanted.metrics)}
    ranks = {"metric": order.get} | dict.fromkeys(("mask", "method", "split"), _rank)
    by = [key for key in ("method", *wanted.rows, "metric", *wanted.columns) if key in ranks]
    return chosen.sort_values(
        list(dict.fromkeys(by)), key=lambda column: column.map(ranks[column.name]), kind="stable"
    ).reset_index(drop=True)


def _rank(name: str) -> tuple:
    """Where a name of a mask, method or split stands: known ones in their order, others by their text and number."""
    text = name.rstrip("0123456789.")
    return (0, ORDER.index(name), "", 0.0) if name in ORDER else (1, 0, text, float(name[len(text) :] or 0))


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
    for _, part in table.groupby(keys, sort=False):
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
    rows = several + list(layout.rows)
    texts = over_seeds(table).set_index([*rows, *layout.columns])["value"]
    if layout.columns:
        column = layout.columns[0]
        rank = layout.metrics.index if column == "metric" else _rank
        order = sorted(set(table[column]), key=rank)
        texts = texts.unstack(list(layout.columns), sort=False)[order]
        texts.columns.name = None
    return texts.fillna("").reset_index()


def caption(table: pd.DataFrame, name: str, as_released: bool = False) -> str:
    """The table's name, title and sample, in reStructuredText."""
    title = name.replace("table", "table ").replace("_", " ").capitalize()
    note = ". Computed as in the released code (as_released)" * (as_released and name in DEVIATING)
    return f"**{title}.** {table_caption(TABLES[name].title + note, table)}"


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
