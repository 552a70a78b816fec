"""Which mask reverses most at what pruned share: trained masks beside a random mask and pruning by a fixed criterion."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from onemask.figures import panels, style
from onemask.summaries.schemas import MEASURES

SIZE = (style.TEXT, 3.7)
TABLES = {"study": MEASURES}
PANELS = {("rsr", "test"): "reversal success rate", ("top1", "test"): "Top-1 overlap", ("perplexity", "perplexity"): "perplexity"}
TRAINED = ("sigmoid", "hard-concrete", "topk")
REFERENCES = ("original", "edited", "layer_zeroed")
TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 90)  # percent
LEGEND = (
    (*TRAINED, "random"),
    *([f"{name}, {state}" for name in style.CRITERIA] for state in ("zeroed", "restored")),
    ("this_mask", *REFERENCES),
)


def _panel(axes: Axes, measures: pd.DataFrame, table: pd.DataFrame, **where: str) -> None:
    for state in REFERENCES:
        panels.reference(axes, table, state)
    masks = measures[~measures["state"].isin(REFERENCES) & (measures["share"].notna() | (measures["state"] == "shared"))]
    masks = panels.at_pruned_share(masks, **where)
    masks = masks.assign(percent=100 * masks["pruned"])
    trained = masks["look"].isin([*TRAINED, "this_mask"])
    for part, width, zorder in ((masks[~trained], 0.8, 2), (masks[trained], 1.3, 4)):
        panels.curves(axes, part, "percent", hue="look", markers=True, err_style="bars", linewidth=width, zorder=zorder)
    axes.set_xscale("log")
    axes.xaxis.set(major_locator=FixedLocator(TICKS), minor_locator=NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


def _legend(subfigure: SubFigure, axes: np.ndarray) -> None:
    """Below all panels, one column a kind of mask; a shorter column is filled up, lest the next one move into it."""
    handles = {name: handle for panel in axes for handle, name in zip(*panel.get_legend_handles_labels(), strict=True)}
    columns = [[style.LABELS[look] for look in group if style.LABELS[look] in handles] for group in LEGEND]
    columns = [column for column in columns if column]
    depth, blank = max(map(len, columns)), Line2D([], [], linestyle="none")
    names = [name for column in columns for name in column + [""] * (depth - len(column))]
    shown = [handles.get(name, blank) for name in names]
    subfigure.legend(shown, names, loc="outside lower center", ncols=len(columns), handlelength=3.2)


def draw(subfigure: SubFigure, measures: pd.DataFrame) -> None:
    """Draw from a `measures` table of pruned, rsr, top1 and perplexity, a mask a parametrisation (or criterion) and share."""
    axes = subfigure.subplots(1, len(PANELS), gridspec_kw={"wspace": 0.06})
    for panel, ((metric, split), name) in zip(axes, PANELS.items(), strict=True):
        table = style.rows(measures, metric=metric, split=split)
        _panel(panel, measures, table, metric=metric, split=split)
        panel.set(xlabel="pruned weights, %", ylabel=name)
        if metric != "perplexity":
            panel.set(**panels.SHARES)
        elif table["value"].max() > 10 * table["value"].min():
            panel.set_yscale("log")
    _legend(subfigure, axes)
