"""Training of the mask: loss terms by epoch (left), and what the hard mask does on held-out edits by epoch (right)."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.ticker import MaxNLocator

from onemask.figures import style
from onemask.masking.schemas import MASK_TRAINING

SIZE = (style.TEXT, 2.6)
TABLES = {"training": MASK_TRAINING}
# column of `mask_training` -> label, state whose look it takes
LOSSES = {
    "loss": ("total", "random"),
    "restoration": ("restoration", "original"),
    "kl": ("KL", "edited"),
    "sparsity": ("sparsity", "shared"),
}
SHARES = {
    "validation_rsr": ("RSR (sequence)", "original"),
    "validation_rsr_first_token": ("RSR (first token)", "edited_true"),
    "validation_top1": ("Top-1 overlap", "edited"),
    "pruned": ("pruned share", "shared"),
}


def _curves(axes: Axes, training: pd.DataFrame, columns: dict[str, tuple[str, str]]) -> None:
    for column, (name, state) in columns.items():
        look, last = style.looks[state], training[column].iloc[-1]
        text = f"{name} ({last:.3g})"
        axes.plot(training["epoch"], training[column], color=look.colour, linestyle=look.line, marker=".", label=text)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_xlabel("epoch (in brackets: last value)")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)


def draw(subfigure: SubFigure, training: pd.DataFrame) -> None:
    """Draw from a `mask_training` table; losses in nats (sparsity: mean of 1 - K), shares in [0, 1]."""
    losses, shares = subfigure.subplots(1, 2)
    _curves(losses, training, LOSSES)
    losses.set_yscale("symlog", linthresh=0.01)
    losses.set(ylabel="mean loss of the epoch", ylim=(0, None))
    _curves(shares, training, SHARES)
    shares.set(ylabel="share of edits, of weights", ylim=(0, 1.03))
