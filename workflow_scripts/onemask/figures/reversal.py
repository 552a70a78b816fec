"""What a mask brings back and what it costs: the panels of figure 7, and of figure 8 for joint edits."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure

from onemask.figures import panels, style
from onemask.measuring.schemas import REVERSAL
from onemask.summaries.schemas import MEASURES

SIZE = (style.TEXT, 4.7)
TABLES = {"reversal": MEASURES, "perplexity": MEASURES, "kl": REVERSAL}
STATES = ("edited", "shared", "random")
ALL_STATES = ("original", *STATES, "layer_zeroed")
REFERENCES = {"original": "-", "layer_zeroed": (0, (1, 0.6))}  # state -> line, short enough for one relation
KL_FLOOR = 1e-6


def _shares(axes: Axes, measures: pd.DataFrame, name: str) -> None:
    panels.relation_bars(axes, style.rows(measures, state=STATES))
    places = panels.relation_places(measures)
    for state, line in REFERENCES.items():
        values = measures[measures["state"] == state]
        at = values["relation"].map(places)
        if len(at):
            look = {"color": style.PALETTE[state], "linestyle": line, "label": style.LABELS[state]}
            axes.hlines(values["value"], at - 0.5, at + 0.5, **look)
    axes.tick_params(axis="x", labelrotation=90)
    axes.set(xlabel="relation", ylabel=name)


def _perplexity(axes: Axes, perplexity: pd.DataFrame) -> None:
    table = style.rows(perplexity, metric="perplexity", state=ALL_STATES)
    places = {state: float(i) for i, state in enumerate(ALL_STATES)}
    panels.bars(axes, table, "state", places, width=0.7)
    for row in table.itertuples():
        panels.write_value(axes, places[row.state], np.nanmax([row.value, row.ci_high]), f"{row.value:,.4g}")
    axes.margins(y=0.15)
    if table["value"].max() > 10 * table["value"].min():
        axes.set_yscale("log")
        axes.set_ylim(bottom=1)
    axes.set_xticks(list(places.values()), [style.LABELS[state].replace(" ", "\n") for state in places])
    axes.set_ylabel("perplexity")


def _divergence(axes: Axes, kl: pd.DataFrame) -> None:
    table = style.rows(kl, state=STATES).reset_index(drop=True)
    table["kl"] = table["kl"].clip(lower=KL_FLOOR)
    looks = {"hue": "state", "hue_order": STATES[::-1], "palette": style.PALETTE, "legend": False}
    shape = {"element": "step", "stat": "proportion", "common_norm": False, "alpha": 0.15, "linewidth": 1.1}
    sns.histplot(table, x="kl", **looks, **shape, log_scale=True, bins=30, ax=axes)
    for state, drawn in zip(STATES, axes.collections, strict=True):  # seaborn draws the last of its order first
        drawn.set_linestyle((0, style.DASHES[state] or (1, 0)))
        place = table.loc[table["state"] == state, "kl"].median(), 1.02
        look = {"color": style.PALETTE[state], "markersize": 3, "clip_on": False}
        axes.plot(*place, "v", transform=axes.get_xaxis_transform(), **look)
    axes.set(xlabel="KL(original || state), nats (triangles: medians)", ylabel="share of facts")


def draw_reversal(subfigure: SubFigure, reversal: pd.DataFrame, perplexity: pd.DataFrame, kl: pd.DataFrame) -> None:
    """Draw from `measures` of rsr and top1, `measures` of perplexity, and a `reversal` table (for kl)."""
    axes = subfigure.subplots(2, 2)
    _shares(axes[0, 0], style.rows(reversal, metric="rsr"), "reversal success rate")
    _shares(axes[0, 1], style.rows(reversal, metric="top1"), "Top-1 overlap")
    _perplexity(axes[1, 0], perplexity)
    _divergence(axes[1, 1], kl)
    panels.legend(subfigure, axes[0, 0], columns=6, zero=bool((reversal["value"] == 0).any()))
