"""Is it the attention? The original fact returns when outputs in the edited model are replaced by the original model's."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.ticker import MaxNLocator
from scipy.stats import binomtest

from onemask.figures import panels, style
from onemask.measuring.schemas import PATCHING

SIZE = (style.TEXT, 2.4)
TABLES = {"patching": PATCHING}
STATES = {"attention": "patched_attention", "mlp": "patched_mlp", "both": "patched_both"}  # by component
PANELS = {"returned": "original fact returns, share", "top1": "Top-1 as the original's, share"}


def wilson(outcomes: pd.Series) -> tuple[float, float]:
    """95% interval of the share of outcomes that are 1, the others being 0."""
    return tuple(binomtest(int(outcomes.sum()), len(outcomes)).proportion_ci(method="wilson"))


def _layer_ticks(axes: Axes, first: int, last: int) -> None:
    """Numbers of layers from `first` on, and "none" at `last`, the number of layers."""
    ticks = MaxNLocator(5, integer=True).tick_values(first, last)
    inner = [int(tick) for tick in ticks if first <= tick <= last - 0.1 * (last - first) and tick < last]
    axes.set_xticks([*inner, last], [*map(str, inner), "none"])


def draw(subfigure: SubFigure, patching: pd.DataFrame, layers: Sequence[int]) -> None:
    """Draw from a `patching` table; `layers` are the edited ones."""
    table = style.rows(patching, component=list(STATES))
    table = table.assign(state=table["component"].map(STATES), returned=table["logp_true_first"] > table["logp_new_first"])
    table = table.astype(dict.fromkeys(PANELS, float))
    for axes, (column, name) in zip(subfigure.subplots(1, len(PANELS)), PANELS.items(), strict=True):
        panels.curves(axes, table, "first_layer", column, errorbar=wilson)
        panels.mark_layers(axes, layers)
        _layer_ticks(axes, min(layers), int(table["first_layer"].max()))
        axes.set(xlabel="replaced from layer", ylabel=name, **panels.SHARES)
    panels.legend(subfigure, axes, columns=4)
