"""Is it the attention? The original fact returns when outputs in the edited model are replaced by the original model's."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.ticker import MaxNLocator
from scipy.stats import binomtest

from onemask.figures import style
from onemask.figures.compose import legend
from onemask.measuring.schemas import PATCHING

SIZE = (style.TEXT, 2.4)
TABLES = {"patching": PATCHING}
COMPONENTS = ("attention", "mlp", "both")
PANELS = {"returned": "original fact returns, share", "top1": "Top-1 as the original's, share"}


def shares(outcome: pd.Series) -> pd.DataFrame:
    """Value and 95% interval (Wilson) of the share of true entries by first_layer, its index."""
    rows = {}
    for layer, part in outcome.groupby(level="first_layer"):
        low, high = binomtest(int(part.sum()), len(part)).proportion_ci(method="wilson")
        rows[layer] = {"value": part.mean(), "ci_low": low, "ci_high": high}
    return pd.DataFrame.from_dict(rows, orient="index")


def _layer_ticks(axes: Axes, first: int, last: int) -> None:
    """Numbers of layers from `first` on, and "none" at `last`, the number of layers."""
    ticks = MaxNLocator(5, integer=True).tick_values(first, last)
    inner = [int(tick) for tick in ticks if first <= tick <= last - 0.1 * (last - first) and tick < last]
    axes.set_xticks([*inner, last], [*map(str, inner), "none"])


def draw(subfigure: SubFigure, patching: pd.DataFrame, layers: Sequence[int]) -> None:
    """Draw from a `patching` table; `layers` are the edited ones."""
    judged = patching.assign(returned=patching["logp_true_first"] > patching["logp_new_first"]).set_index("first_layer")
    panels = subfigure.subplots(1, len(PANELS))
    for axes, (column, name) in zip(panels, PANELS.items(), strict=True):
        for component in COMPONENTS:
            table, look = shares(style.rows(judged, component=component)[column]), style.looks[component]
            axes.plot(table.index, table["value"], color=look.colour, linestyle=look.line, label=style.labels[component])
            axes.fill_between(table.index, table["ci_low"], table["ci_high"], color=look.colour, alpha=0.2, linewidth=0)
        style.mark_layers(axes, layers)
        _layer_ticks(axes, min(layers), int(patching["first_layer"].max()))
        axes.set(xlabel="replaced from layer", ylabel=name, ylim=(-0.03, 1.05), yticks=np.linspace(0, 1, 5))
    legend(subfigure, panels[0], columns=4)
