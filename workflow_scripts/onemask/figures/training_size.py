"""How many training edits does a mask need? Reversal success rate and Top-1 overlap against their number."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.ticker import NullLocator

from onemask.figures import style
from onemask.figures.compose import legend
from onemask.summaries.schemas import MEASURES

SIZE = (style.TEXT, 2.5)
TABLES = {"study": MEASURES}
PANELS = {"rsr": "reversal success rate", "top1": "Top-1 overlap"}
REFERENCES = ("original", "random")
NEAR = 0.1  # of the axis: two numbers closer than this would run into each other


def _tick_names(numbers: list[int]) -> list[str]:
    """One name a number in rising order, lowered by a line where it stands too near the one before."""
    steps = np.diff(np.log(numbers), prepend=0) / (np.log(numbers[-1] / numbers[0]) or 1)
    names = [str(numbers[0])]
    for number, step in zip(numbers[1:], steps[1:], strict=True):
        near = step < NEAR and not names[-1].startswith("\n")
        names.append(f"\n{number}" if near else str(number))
    return names


def _panel(axes: Axes, table: pd.DataFrame, edits: pd.Series) -> None:
    look = style.looks["shared"]
    for mask in REFERENCES:
        for value in table.loc[(table["mask"] == mask) & (table["split"] == "test"), "value"]:
            axes.axhline(value, color=style.looks[mask].colour, linestyle=style.looks[mask].line, label=style.labels[mask])
    trained = table[table["mask"].isin(edits.index)]
    trained = trained.assign(edits=trained["mask"].map(edits)).sort_values("edits")
    test = style.rows(trained, split="test")
    axes.plot(test["edits"], test["value"], "o-", color=look.colour, label="test facts")
    axes.fill_between(test["edits"], test["ci_low"], test["ci_high"], color=look.colour, alpha=0.2, linewidth=0)
    seen = trained[trained["split"] == "train"]
    if len(seen):
        hollow = {"color": look.colour, "linewidth": 0.8, "markerfacecolor": "white", "label": "edits trained on"}
        axes.plot(seen["edits"], seen["value"], "s--", **hollow)
    here = test[test["mask"] == "shared"]
    if len(here):
        ring = {"color": "black", "markersize": 7, "fillstyle": "none", "label": style.labels["this_mask"]}
        axes.plot(here["edits"], here["value"], "o", **ring)
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    numbers = sorted(set(trained["edits"].astype(int)))
    axes.set_xticks(numbers, _tick_names(numbers))
    axes.set(xlabel="training edits", ylim=(-0.03, 1.05), yticks=np.linspace(0, 1, 5))


def draw(subfigure: SubFigure, measures: pd.DataFrame) -> None:
    """Draw from a `measures` table of training_edits, rsr and top1; masks that have training_edits are the trained ones."""
    edits = style.rows(measures, metric="training_edits").set_index("mask")["value"]
    panels = subfigure.subplots(1, len(PANELS))
    for axes, (metric, name) in zip(panels, PANELS.items(), strict=True):
        _panel(axes, style.rows(measures, metric=metric), edits)
        axes.set_ylabel(name)
    legend(subfigure, panels[0], columns=5)
