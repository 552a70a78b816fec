"""Figure 4: MLP (left) and attention (right) contributions by layer in the original, the edited and the pruned model."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import SubFigure

from onemask.figures import style
from onemask.figures.compose import legend
from onemask.figures.figure03 import layer_panel
from onemask.measuring.schemas import DECOMPOSITION

SIZE = (style.TEXT, 2.3)
TABLES = {"decomposition": DECOMPOSITION}
SERIES = {"original": ("original", "true"), "edited": ("edited", "new"), "shared": ("shared", "true")}


def draw(subfigure: SubFigure, decomposition: pd.DataFrame, layers: Sequence[int]) -> None:
    """Draw from a `decomposition` table; `layers` are the edited ones."""
    axes = subfigure.subplots(1, 2)
    for panel, component, title in zip(axes, ("mlp", "attention"), ("MLP", "Attention"), strict=True):
        layer_panel(panel, decomposition, component, SERIES, layers)
        panel.set_title(title)
    legend(subfigure, axes[0], columns=4)
