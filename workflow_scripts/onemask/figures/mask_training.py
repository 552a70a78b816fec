"""Training of the mask: loss terms by epoch (left), and what the hard mask does on held-out edits by epoch (right)."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.ticker import MaxNLocator

from onemask.figures import panels, style
from onemask.masking.schemas import MASK_TRAINING

SIZE = (style.TEXT, 2.6)
TABLES = {"training": MASK_TRAINING}
# look -> column of `mask_training`, and its name in words
LOSSES = {
    "random": ("loss", "total"),
    "original": ("restoration", "restoration"),
    "edited": ("kl", "KL"),
    "shared": ("sparsity", "sparsity"),
}
SHARES = {
    "original": ("validation_rsr", "RSR (sequence)"),
    "edited_true": ("validation_rsr_first_token", "RSR (first token)"),
    "edited": ("validation_top1", "Top-1 overlap"),
    "shared": ("pruned", "pruned share"),
}


def _curves(axes: Axes, training: pd.DataFrame, looks: dict[str, tuple[str, str]]) -> None:
    table = pd.DataFrame({look: training[column] for look, (column, _) in looks.items()}).assign(epoch=training["epoch"])
    names = {look: f"{name} ({training[column].iloc[-1]:.3g})" for look, (column, name) in looks.items()}
    panels.curves(axes, table.melt("epoch", var_name="look"), "epoch", hue="look", names=names, marker=".", markersize=7)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_xlabel("epoch (in brackets: last value)")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)


def draw(subfigure: SubFigure, training: pd.DataFrame) -> None:
    """Draw from a `mask_training` table; losses in nats (sparsity: mean of 1 - K), shares in [0, 1]."""
    losses, shares = subfigure.subplots(1, 2)
    _curves(losses, training, LOSSES)
    losses.set_yscale("symlog", linthresh=0.01)
    losses.autoscale(axis="y")  # to the margins of the new scale
    losses.set(ylabel="mean loss of the epoch", ylim=(0, None))
    _curves(shares, training, SHARES)
    shares.set(ylabel="share of edits, of weights", ylim=(0, 1.03))
