"""Figure 12: pruned share of each output dimension of the edited matrix, sorted, the five highest by number."""

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.ticker import PercentFormatter

from onemask.figures import style
from onemask.masking.schemas import MASK_STRUCTURE
from onemask.summaries.mechanism import TOP

SIZE = (style.COLUMN, 2.4)
TABLES = {"structure": MASK_STRUCTURE}


def _label_top(axes: Axes, structure: pd.DataFrame) -> None:
    """Numbers of the last `TOP` rows in a column left of their points, kept apart from each other."""
    low, high = axes.get_ylim()
    gap, at = 0.08 * (high - low), len(structure) * 0.8
    heights = structure["pruned"].tail(TOP).to_list()
    for i in range(len(heights) - 2, -1, -1):
        heights[i] = min(heights[i], heights[i + 1] - gap)
    places = zip(structure.index[-TOP:], structure.tail(TOP).itertuples(), heights, strict=True)
    for rank, row, height in places:
        arrow = {"arrowstyle": "-", "linewidth": 0.4, "color": "black", "shrinkA": 0, "shrinkB": 1}
        place = {"xytext": (at, height), "ha": "right", "va": "center", "fontsize": style.SMALL}
        axes.annotate(str(row.dimension), (rank, row.pruned), arrowprops=arrow, **place)


def draw(subfigure: SubFigure, structure: pd.DataFrame) -> None:
    """Draw from a `mask_structure` table: one row an output dimension, `pruned` its share in [0, 1]."""
    axes = subfigure.subplots()
    ordered = structure.sort_values(["pruned", "dimension"], ignore_index=True)
    look = {"color": style.PALETTE["shared"], "s": 5, "linewidth": 0, "label": "output dimension"}
    sns.scatterplot(ordered, x=ordered.index, y="pruned", ax=axes, **look)
    mean = ordered["pruned"].mean()
    axes.axhline(mean, color="black", linewidth=0.8, linestyle="--", label=f"mean ({mean:.1%})")
    axes.set_ylim(0, 1.08 * ordered["pruned"].max() or 1)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set(xlabel="output dimensions, sorted", ylabel="pruned weights of the dimension")
    axes.legend(loc="upper left")
    _label_top(axes, ordered)
