"""Figure 13: the five output dimensions that the mask prunes most, followed through the layers of the residual stream."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import SubFigure
from matplotlib.ticker import MaxNLocator

from onemask.figures import panels, style
from onemask.masking.schemas import MASK_STRUCTURE
from onemask.measuring.schemas import ACTIVATIONS
from onemask.summaries.mechanism import most_pruned

SIZE = (style.TEXT, 1.9)
TABLES = {"activations": ACTIVATIONS, "structure": MASK_STRUCTURE}
STATES = ("original", "edited", "shared")


def draw(subfigure: SubFigure, activations: pd.DataFrame, structure: pd.DataFrame, layers: Sequence[int]) -> None:
    """Draw from an `activations` and a `mask_structure` table; `layers` are the edited ones."""
    top = most_pruned(structure)
    table = style.rows(activations, state=STATES, dimension=list(top["dimension"])).query("layer >= 0")
    low, high = table["mean"] - table["sem"], table["mean"] + table["sem"]
    table = table.assign(value=table["mean"], ci_low=low, ci_high=high)
    axes = subfigure.subplots(1, len(top), squeeze=False)[0]
    for panel, row in zip(axes, top.itertuples(), strict=True):
        panels.curves(panel, table[table["dimension"] == row.dimension], "layer")
        panels.mark_layers(panel, layers)
        panel.axhline(0, color="black", linewidth=0.4, zorder=0)
        panel.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        panel.yaxis.set_major_locator(MaxNLocator(4))
        panel.set(title=f"dim {row.dimension}\n({row.pruned:.1%} pruned)", xlabel="layer")
    axes[0].set_ylabel("mean activation")
    panels.legend(subfigure, axes[0], columns=4)
