"""Figure 13: the five output dimensions that the mask prunes most, followed through the layers of the residual stream."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.ticker import MaxNLocator

from onemask.figures import style
from onemask.figures.compose import legend
from onemask.figures.figure05 import STATES
from onemask.masking.schemas import MASK_STRUCTURE
from onemask.measuring.schemas import ACTIVATIONS
from onemask.summaries.mechanism import most_pruned

SIZE = (style.TEXT, 1.9)
TABLES = {"activations": ACTIVATIONS, "structure": MASK_STRUCTURE}


def _trajectory(axes: Axes, activations: pd.DataFrame, state: str, dimension: int) -> None:
    table, look = style.rows(activations, state=state, dimension=dimension).sort_values("layer"), style.looks[state]
    table = table[table["layer"] >= 0]
    mean, error = table["mean"], table["sem"].fillna(0.0)
    axes.plot(table["layer"], mean, color=look.colour, linestyle=look.line, label=style.labels[state])
    axes.fill_between(table["layer"], mean - error, mean + error, color=look.colour, alpha=0.25, linewidth=0)


def draw(subfigure: SubFigure, activations: pd.DataFrame, structure: pd.DataFrame, layers: Sequence[int]) -> None:
    """Draw from an `activations` and a `mask_structure` table; `layers` are the edited ones."""
    top = most_pruned(structure)
    panels = subfigure.subplots(1, len(top), squeeze=False)[0]
    for axes, row in zip(panels, top.itertuples(), strict=True):
        for state in STATES:
            _trajectory(axes, activations, state, row.dimension)
        style.mark_layers(axes, layers)
        axes.axhline(0, color="black", linewidth=0.4, zorder=0)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.set(title=f"dim {row.dimension}\n({row.pruned:.1%} pruned)", xlabel="layer")
    panels[0].set_ylabel("mean activation")
    legend(subfigure, panels[0], columns=4)
