"""Figure 7: reversal by the shared mask on the test facts, beside a random mask and the zeroed layer."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure

from onemask.figures import style
from onemask.figures.compose import legend
from onemask.measuring.schemas import REVERSAL
from onemask.summaries.schemas import MEASURES

SIZE = (style.TEXT, 4.7)
TABLES = {"reversal": MEASURES, "perplexity": MEASURES, "kl": REVERSAL}
MASKS = {"none": "edited", "shared": "shared", "random": "random"}
REFERENCES = ("original", "layer_zeroed")
KL_STATES = ("edited", "shared", "random")
KL_FLOOR = 1e-6


def _shares(axes: Axes, measures: pd.DataFrame, name: str) -> None:
    style.grouped_bars(axes, measures, MASKS)
    positions = style.relation_positions(measures)
    for mask in [mask for mask in REFERENCES if mask in set(measures["mask"])]:
        values = style.rows(measures, mask=mask)
        at, look = values["relation"].map(positions), style.looks[mask]
        line = "-" if mask == "original" else (0, (1, 0.6))
        axes.hlines(values["value"], at - 0.5, at + 0.5, color=look.colour, linestyle=line, label=style.labels[mask])
    axes.tick_params(axis="x", labelrotation=90)
    axes.set(xlabel="relation", ylabel=name)


def _perplexity(axes: Axes, perplexity: pd.DataFrame) -> None:
    masks = ("original", "none", "shared", "random", "layer_zeroed")
    names = [style.states.get(mask, mask) for mask in masks]
    for at, (mask, state) in enumerate(zip(masks, names, strict=True)):
        table = style.rows(perplexity, metric="perplexity", mask=mask)
        style.bars(axes, [at], table, state)
        value = table["value"].iloc[0]
        style.write_value(axes, at, np.nanmax([value, table["ci_high"].iloc[0]]), f"{value:,.4g}")
    axes.margins(y=0.15)
    if perplexity["value"].max() > 10 * perplexity["value"].min():
        axes.set_yscale("log")
        axes.set_ylim(bottom=1)
    axes.set_xticks(range(len(names)), [style.labels[name].replace(" ", "\n") for name in names])
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel("perplexity")


def _divergence(axes: Axes, kl: pd.DataFrame) -> None:
    values = {state: style.rows(kl, state=state)["kl"].clip(lower=KL_FLOOR) for state in KL_STATES}
    together = pd.concat(values.values())
    bins = np.geomspace(together.min(), together.max() * (1 + 1e-9), 31)
    for state, drawn in values.items():
        look = style.looks[state]
        weights = np.full(len(drawn), 1 / len(drawn))
        shape = {"histtype": "stepfilled", "facecolor": (look.colour, 0.15), "edgecolor": look.colour}
        axes.hist(drawn, bins, weights=weights, linestyle=look.line, linewidth=1.1, **shape)
        axes.plot(drawn.median(), 1.02, "v", color=look.colour, transform=axes.get_xaxis_transform(), clip_on=False)
    axes.set_xscale("log")
    axes.set(xlabel="KL(original || state), nats (triangles: medians)", ylabel="share of facts")


def draw(subfigure: SubFigure, reversal: pd.DataFrame, perplexity: pd.DataFrame, kl: pd.DataFrame) -> None:
    """Draw from `measures` of rsr and top1, `measures` of perplexity, and a `reversal` table (for kl)."""
    axes = subfigure.subplots(2, 2)
    _shares(axes[0, 0], style.rows(reversal, metric="rsr"), "reversal success rate")
    _shares(axes[0, 1], style.rows(reversal, metric="top1"), "Top-1 overlap")
    _perplexity(axes[1, 0], perplexity)
    _divergence(axes[1, 1], kl)
    legend(subfigure, axes[0, 0], columns=6, zero=bool((reversal["value"] == 0).any()))
