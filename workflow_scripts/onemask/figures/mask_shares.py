"""Which mask reverses most at what pruned share: trained masks beside a random mask and pruning by a fixed criterion."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from onemask.figures import style
from onemask.summaries.schemas import MEASURES

SIZE = (style.TEXT, 3.7)
TABLES = {"study": MEASURES}
PANELS = {("rsr", "test"): "reversal success rate", ("top1", "test"): "Top-1 overlap", ("perplexity", "perplexity"): "perplexity"}
TRAINED = {"sigmoid": "o", "hard-concrete": "s", "topk": "^"}
CRITERIA = {"update": "D", "magnitude": "v", "columns": "<", "activation": ">"}
FILLS = ("zero", "original")
MARKERS = {f"{name}-{fill}": marker for name, marker in CRITERIA.items() for fill in FILLS}
MARKERS |= TRAINED | {"random": "x", "this_mask": "*"}
REFERENCES = {"original": "original", "none": "edited", "layer_zeroed": "layer_zeroed"}
TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 90)  # percent
LEGEND = (
    (*TRAINED, "random"),
    *([f"{name}-{fill}" for name in CRITERIA] for fill in FILLS),
    ("this_mask", *REFERENCES.values()),
)


def whiskers(table: pd.DataFrame) -> np.ndarray:
    """Lengths (2, rows) of the interval below and above `value`, NaN where a row has no interval."""
    return np.stack([table["value"] - table["ci_low"], table["ci_high"] - table["value"]]).clip(min=0)


def _form(family: str) -> dict:
    if family == "this_mask":
        return {"markersize": 7, "markeredgecolor": "black", "markeredgewidth": 0.5, "zorder": 5}
    if family in TRAINED:
        return {"linewidth": 1.3, "markersize": 4, "zorder": 4}
    face = "white" if family.endswith("-original") else style.looks[family].colour
    return {"linewidth": 0.8, "markersize": 3.5, "markerfacecolor": face, "markeredgewidth": 0.7, "zorder": 3}


def _curve(axes: Axes, table: pd.DataFrame, family: str) -> None:
    look, place, form = style.looks[family], (table["percent"], table["value"]), _form(family)
    line = {"color": look.colour, "linestyle": look.line, "marker": MARKERS[family], "label": style.labels[family]}
    axes.plot(*place, **line, **form)
    thin = {"elinewidth": 0.6, "capsize": 1.2, "capthick": 0.6, "zorder": form["zorder"] - 0.1}
    axes.errorbar(*place, whiskers(table), fmt="none", ecolor=look.colour, **thin)


def _panel(axes: Axes, measures: pd.DataFrame, pruned: pd.DataFrame) -> None:
    for mask, state in REFERENCES.items():
        for value in measures.loc[measures["mask"] == mask, "value"]:
            look = style.looks[state]
            axes.axhline(value, color=look.colour, linestyle=look.line, linewidth=0.9, zorder=1, label=style.labels[state])
    families = measures["mask"].str.extract(r"^(.+)-[\d.]+$", expand=False).mask(measures["mask"] == "shared", "this_mask")
    for family, table in measures.groupby(families):
        percent = [100 * style.rows(pruned, mask=mask)["value"].iloc[0] for mask in table["mask"]]
        _curve(axes, table.assign(percent=percent).sort_values("percent"), family)
    axes.set_xscale("log")
    axes.xaxis.set(major_locator=FixedLocator(TICKS), minor_locator=NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


def _legend(subfigure: SubFigure, panels: np.ndarray) -> None:
    """Below all panels, one column a kind of mask; a shorter column is filled up, lest the next one move into it."""
    handles = {name: handle for panel in panels for handle, name in zip(*panel.get_legend_handles_labels(), strict=True)}
    columns = [[style.labels[name] for name in group if style.labels[name] in handles] for group in LEGEND]
    columns = [column for column in columns if column]
    depth, blank = max(map(len, columns)), Line2D([], [], linestyle="none")
    names = [name for column in columns for name in column + [""] * (depth - len(column))]
    shown = [handles.get(name, blank) for name in names]
    subfigure.legend(shown, names, loc="outside lower center", ncols=len(columns), handlelength=3.2)


def draw(subfigure: SubFigure, measures: pd.DataFrame) -> None:
    """Draw from a `measures` table of pruned, rsr, top1 and perplexity; masks: a family and its percent, as "topk-10"."""
    panels = subfigure.subplots(1, len(PANELS), gridspec_kw={"wspace": 0.06})
    pruned = style.rows(measures, metric="pruned")
    for axes, ((metric, split), name) in zip(panels, PANELS.items(), strict=True):
        table = style.rows(measures, metric=metric, split=split)
        _panel(axes, table, pruned)
        axes.set(xlabel="pruned weights, %", ylabel=name)
        if metric != "perplexity":
            axes.set(ylim=(-0.03, 1.05), yticks=np.linspace(0, 1, 5))
        elif table["value"].max() > 10 * table["value"].min():
            axes.set_yscale("log")
    _legend(subfigure, panels)
