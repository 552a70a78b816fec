"""How many training edits does a mask need? Reversal success rate and Top-1 overlap against their number."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.ticker import NullLocator

from onemask.figures import panels, style
from onemask.summaries.schemas import MEASURES

SIZE = (style.TEXT, 2.5)
TABLES = {"study": MEASURES}
PANELS = {"rsr": "reversal success rate", "top1": "Top-1 overlap"}
NEAR = 0.1  # of the axis: two numbers closer than this would run into each other


def _tick_names(numbers: list[int]) -> list[str]:
    """One name a number in rising order, lowered by a line where it stands too near the one before."""
    steps = np.diff(np.log(numbers), prepend=0) / (np.log(numbers[-1] / numbers[0]) or 1)
    names = [str(numbers[0])]
    for number, step in zip(numbers[1:], steps[1:], strict=True):
        near = step < NEAR and not names[-1].startswith("\n")
        names.append(f"\n{number}" if near else str(number))
    return names


def _panel(axes: Axes, table: pd.DataFrame, edits: pd.DataFrame) -> None:
    for state in ("original", "random"):
        panels.reference(axes, table[table["split"] == "test"], state)
    masks = style.rows(table, state="shared").merge(edits, on="training_edits")
    panels.curves(axes, style.rows(masks, split="test"), "edits", hue="split", marker="o")
    if (masks["split"] == "train").any():
        seen = style.rows(masks, split="train")
        panels.curves(axes, seen, "edits", hue="split", marker="s", markersize=4, linewidth=0.8, errorbar=None)
    here = masks[(masks["split"] == "test") & masks["training_edits"].isna()]
    if len(here):
        ring = {"color": "black", "markersize": 7, "fillstyle": "none", "label": style.LABELS["this_mask"]}
        axes.plot(here["edits"], here["value"], "o", **ring)
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    numbers = sorted(set(masks["edits"].astype(int)))
    axes.set_xticks(numbers, _tick_names(numbers))
    axes.set(xlabel="training edits", **panels.SHARES)


def draw(subfigure: SubFigure, measures: pd.DataFrame) -> None:
    """Draw from a `measures` table of training_edits, rsr and top1; column training_edits is null for the run's own mask."""
    edits = style.rows(measures, metric="training_edits", state="shared").rename(columns={"value": "edits"})
    axes = subfigure.subplots(1, len(PANELS))
    for panel, (metric, name) in zip(axes, PANELS.items(), strict=True):
        _panel(panel, style.rows(measures, metric=metric), edits[["training_edits", "edits"]])
        panel.set_ylabel(name)
    panels.legend(subfigure, axes[0], columns=5)
