"""Figure 4: MLP (left) and attention (right) contributions by layer in the original, the edited and the pruned model.

Mean and standard error over facts of the logit of the original fact (original, pruned) or of the edited fact (edited).
"""

import pandas as pd
from matplotlib.figure import SubFigure

from onemask.figures import style
from onemask.figures.compose import legend
from onemask.figures.figure03 import layer_panel

SIZE = (style.TEXT, 2.3)
SERIES = {"original": ("original", "true"), "edited": ("edited", "new"), "shared": ("shared", "true")}


def draw(subfigure: SubFigure, decomposition: pd.DataFrame, layer: int) -> None:
    """Draw from a `decomposition` table; `layer` is the edited one."""
    axes = subfigure.subplots(1, 2)
    for panel, component, title in zip(axes, ("mlp", "attention"), ("MLP", "Attention"), strict=True):
        layer_panel(panel, decomposition, component, SERIES, layer)
        panel.set_title(title)
    legend(subfigure, axes[0], columns=4)
