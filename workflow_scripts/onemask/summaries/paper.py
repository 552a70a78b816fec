"""The paper's own figures beside ours: joined by quantity and model, never across models."""

import math
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from onemask.config.load import SHIPPED, check, read_yaml
from onemask.io.errors import OnemaskError
from onemask.summaries import tables
from onemask.summaries.measures import KEY
from onemask.summaries.schemas import PAPER_VS_OURS

QUANTITY = ["method", "split", "state", "parametrisation", "item", "relation", "metric"]  # what a figure is of, but for its model
ENTRY = ["printed_in", "model", *QUANTITY]  # what no two figures of the paper share
UNNAMED = ""  # the model of a figure of which the paper does not say whose it is
WHOLE = (*tables.COUNTS, "output_dimensions")
SHARES = ("pruned", "pruned_of_edited", "dimension_pruned", "top5_pruned", "high_magnitude")
STATELESS = (*WHOLE, *SHARES, "p_value", "cohens_d", "mlp_edited_ratio", "gpu_hours")  # no state of the model need be said
LOGITS = ("mlp_edited",)  # whose item, the object, its words say already
ITEMS = {"dimension_pruned": "dimension", "perplexity_edited": "case", "perplexity_pruned": "case"}
FORMATS = dict.fromkeys(WHOLE, ",.0f") | {"p_value": ".1e", "mlp_edited_ratio": ".1f", "gpu_hours": ".4g"}


@dataclass(frozen=True)
class Paper:
    """What the paper prints. labels: by model. words: by metric or state. values: a row a figure: ENTRY, paper, paper_spread."""

    citation: str
    labels: dict[str, str]
    words: dict[str, str]
    values: pd.DataFrame


def read(path: str | Path, schemas: Path = SHIPPED / "config" / "schemas") -> Paper:
    """Read config/paper_values.yaml; OnemaskError on an unknown key, an unknown model, or a figure given twice."""
    content = read_yaml(Path(path))
    check(content, "paper_values.schema.yaml", schemas, str(path))
    columns = {"value": "paper", "spread": "paper_spread"}
    values = pd.DataFrame(content["values"]).rename(columns=columns).astype(dict.fromkeys(columns.values(), float))
    for problem, wrong in {
        "each figure once": values.duplicated(ENTRY),
        f"models out of {', '.join(content['models'])}": ~values["model"].isin([*content["models"], UNNAMED]),
    }.items():
        if wrong.any():
            raise OnemaskError(f"{problem} in {path}", f"{values.loc[wrong, ENTRY].iloc[0].to_dict()}", "Correct the entry.")
    cited = content["paper"]
    citation = f"{', '.join(cited['authors'])}: {cited['title']}. arXiv {cited['arxiv']}"
    return Paper(citation, content["models"], content["words"], values[[*ENTRY, *columns.values()]])


def _averaged(measures: pd.DataFrame) -> pd.DataFrame:
    """One row a model and quantity: the mean over mask seeds, with the interval where there is one seed; no study's masks."""
    of_the_run = measures[["layer", "share", "training_edits"]].isna().all(axis=1) & (measures["trained_on"] == "")
    groups = measures[of_the_run].drop_duplicates(KEY).groupby(["model", *QUANTITY], sort=False)
    found = groups.agg(ours=("value", "mean"), ci_low=("ci_low", "first"), ci_high=("ci_high", "first"), n=("n", "first"))
    found.loc[groups.size() > 1, ["ci_low", "ci_high"]] = math.nan
    return found.reset_index()


def _of_settings(settings: dict[str, dict]) -> pd.DataFrame:
    """The numbers of each model's mask settings, keyed as the paper's are."""
    where = {"method": "", "split": "all", "state": "shared", "parametrisation": "", "item": "", "relation": "all"}
    rows = [
        {"model": model, **where, "metric": f"mask.{key}", "ours": float(value)}
        for model, chosen in settings.items()
        for key, value in chosen.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    ]
    return pd.DataFrame(rows, columns=["model", *QUANTITY, "ours"])


def compare(values: pd.DataFrame, measures: pd.DataFrame, models: list[str], settings: dict[str, dict]) -> pd.DataFrame:
    """Table `paper_vs_ours`: every figure of the paper, and ours of each of its quantities for the other models of the run.

    values: `Paper.values`. measures: the run's. models: the run's. settings: mask settings by model. difference: ours - paper;
    within: does the paper's figure, give or take its spread, lie in our 95% interval ("" where a part of this is missing)?
    """
    ours = pd.concat([_averaged(measures), _of_settings(settings)], ignore_index=True)
    ours = ours[ours["model"].isin(models)]
    quantities = values[["printed_in", *QUANTITY]].drop_duplicates()
    frame = pd.concat([values, quantities.merge(ours[["model", *QUANTITY]])]).drop_duplicates(ENTRY)
    frame = quantities.merge(frame).merge(ours, how="left", on=["model", *QUANTITY], validate="many_to_one")
    frame["difference"] = frame["ours"] - frame["paper"]
    spread = frame["paper_spread"].fillna(0.0)
    inside = frame["paper"].between(frame["ci_low"] - spread, frame["ci_high"] + spread)
    known = frame[["paper", "ours", "ci_low", "ci_high"]].notna().all(axis=1)
    frame["within"] = np.where(known, np.where(inside, "yes", "no"), "")
    return frame.astype({"n": "Int64"})[PAPER_VS_OURS.names]


def _format(metric: str, value: float) -> str:
    """How a number of this metric and size is written."""
    if metric.startswith(("perplexity", "mask.")):
        return ",.2f" if metric.startswith("perplexity") else "g"
    return FORMATS.get(metric, ".3f" if value == 0 or abs(value) >= 0.001 else ".2e")


def _cells(row: pd.Series) -> dict[str, str]:
    """Texts of one row of `paper_vs_ours` by column; empty where there is no number."""
    metric, paper, ours, spread = row["metric"], row["paper"], row["ours"], row["paper_spread"]
    texts = {"paper": "", "ours": "", "difference": "", "within": row["within"]}
    if pd.notna(paper):
        numbers = [paper] if pd.isna(spread) else [paper, spread]
        texts["paper"] = " ± ".join(format(number, _format(metric, paper)) for number in numbers)
    if pd.notna(ours):
        form = _format(metric, ours)
        interval = "" if pd.isna(row["ci_low"]) else f" [{row['ci_low']:{form}}, {row['ci_high']:{form}}]"
        texts["ours"] = f"{ours:{form}}{interval}"
    if texts["paper"] and texts["ours"]:
        change = 0.0 if math.isclose(paper, ours, rel_tol=1e-9) else row["difference"]  # no noise of rounding
        texts["difference"] = format(change, f"+{_format(metric, change)}")
    return texts


def _in_words(quantity: dict[str, str], words: dict[str, str]) -> str:
    """A quantity as people say it."""
    metric, state = quantity["metric"], quantity["state"]
    if metric.startswith("mask."):
        return f"setting {metric.removeprefix('mask.')}"
    name, model = words.get(metric, metric.replace("_", " ")), words.get(state, state)
    criterion = quantity["parametrisation"]
    of = words.get(criterion, criterion) or model
    stated = name if metric in STATELESS else words.get(f"{metric}.{state}", f"{name}, {of}")
    item = "" if metric in LOGITS else f"{ITEMS.get(metric, '')} {quantity['item']}".strip()
    parts = [stated, item, "" if quantity["relation"] == "all" else quantity["relation"]]
    return ", ".join(part for part in parts if part)


def _named(models: list[str], labels: dict[str, str]) -> dict[str, str]:
    """A label for each model, no two alike."""
    named = {model: labels.get(model, model) or "unnamed model" for model in models}
    often = Counter(named.values())
    return {model: f"{label} ({model})" if often[label] > 1 else label for model, label in named.items()}


def wide(table: pd.DataFrame, models: list[str], labels: dict[str, str], words: dict[str, str]) -> pd.DataFrame:
    """`paper_vs_ours` for people: a row a quantity, and for each model columns of its own; cells are text.

    models: the run's. labels: by model. Models that only one side has lack the other side's columns.
    """
    of_paper = list(table.loc[table["paper"].notna(), "model"].unique())
    named = _named([*of_paper, *models], labels)
    lines = []
    for (place, *key), part in table.groupby(["printed_in", *QUANTITY], sort=False):
        quantity = dict(zip(QUANTITY, key, strict=True))
        title = re.sub(r"(?<=[a-z])(?=\d)", " ", place).replace("_", ", ").capitalize()
        line = {"printed in": title, "quantity": _in_words(quantity, words)}
        line |= {name: quantity[name] for name in ("method", "split")}
        rows = {row["model"]: _cells(row) for _, row in part.iterrows()}
        for model, label in named.items():
            sides = ["paper"] * (model in of_paper) + ["ours"] * (model in models)
            shown = [*sides, "difference", "within"] if len(sides) == 2 else sides
            line |= {f"{label} {column}": rows.get(model, {}).get(column, "") for column in shown}
        lines.append(line)
    return pd.DataFrame(lines)


def caption(paper: Paper, models: list[str], labels: dict[str, str]) -> str:
    """What is shown, in reStructuredText."""
    run = ", ".join(labels.get(model, model) for model in models)
    return (
        f"The figures that the paper prints ({paper.citation}) beside ours of {run}. Each model has columns of its own; what was "
        "measured on different models is never subtracted. An empty cell: not printed, or not measured in this run. Brackets: "
        "95% bootstrap intervals over facts; none where several mask seeds are averaged. difference: ours - paper; within: "
        "does the paper's figure, give or take its printed ±, lie in our interval? setting: a hyperparameter of mask training.\n"
    )


def markdown(shown: pd.DataFrame, text: str) -> str:
    """The wide table as Markdown, under its caption."""
    return tables.markdown(shown, f"**Paper beside ours.** {text}")


def html(shown: pd.DataFrame) -> str:
    """The wide table as a small page of its own."""
    return tables.document(shown.to_html(index=False, border=0))
