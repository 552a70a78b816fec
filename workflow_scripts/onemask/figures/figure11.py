"""Figure 11: the mask over the edited matrix, white where a weight is pruned and black where it is kept."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import SubFigure

from onemask.figures import style
from onemask.masking.schemas import MASK_STRUCTURE

SIZE = (style.TEXT, 3.0)
TABLES = {"structure": MASK_STRUCTURE}


def draw(subfigure: SubFigure, structure: pd.DataFrame) -> None:
    """Draw from a `mask_structure` table: one row an output dimension, `keep` bool (d_mlp,), true where the weight is kept."""
    keep = np.stack(structure["keep"])
    image, margin = subfigure.subplots(1, 2, sharey=True, width_ratios=(7, 1))
    # seaborn's heatmap draws each cell by itself; a mask has up to tens of millions
    image.imshow(keep, cmap="gray_r", vmin=0, vmax=1, interpolation="none", aspect="auto")
    image.spines[:].set_visible(True)
    image.set(xlabel="hidden dimension (MLP)", ylabel="output dimension")
    image.set_title(f"pruned (white): {1 - keep.mean():.2%} of {keep.shape[0]:,} × {keep.shape[1]:,} weights")
    share = pd.DataFrame({"share": 1 - keep.mean(axis=1), "dimension": np.arange(len(keep))})
    form = {"orient": "y", "estimator": None, "color": style.PALETTE["shared"], "linewidth": 0.5}
    sns.lineplot(share, x="share", y="dimension", ax=margin, **form)
    margin.set(xlabel="pruned share\nof the row", xlim=(0, None))
    margin.tick_params(axis="y", left=False, labelleft=False)
