"""One visual language: a state has one colour, dash, marker, hatch and name, told apart in colour and in grey print."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import seaborn as sns

from onemask.io.errors import OnemaskError

COLUMN, TEXT = 3.03, 6.30  # widths of a column and of the text block, inches
SMALL, NORMAL = 6.5, 7.5  # font sizes, points
_SIZES = dict.fromkeys(["axes.linewidth", "xtick.major.width", "ytick.major.width"], 0.6)
_SIZES |= dict.fromkeys(["legend.fontsize", "xtick.labelsize", "ytick.labelsize"], SMALL)
_SIZES |= dict.fromkeys(["font.size", "axes.titlesize", "axes.labelsize"], NORMAL)
_SIZES |= {"xtick.major.size": 3, "ytick.major.size": 3, "lines.markersize": 5}
RC = {
    **sns.axes_style("ticks", {"font.family": "DejaVu Sans", "axes.spines.top": False, "axes.spines.right": False}),
    **sns.plotting_context("paper", rc=_SIZES),
    "figure.titlesize": NORMAL + 1,
    "figure.titleweight": "bold",
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "legend.columnspacing": 1.4,
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
}


class Look(NamedTuple):
    """Name in words, colour of lines and edges, dashes ("": solid), marker, hatch of bars, fill of bars ("": the colour).

    A marker is hollow where the fill is white.
    """

    label: str
    colour: str
    dashes: str | tuple = ""
    marker: str = "o"
    hatch: str = ""
    fill: str = ""


_RED, _DASHED, _DOTTED, _DASH_DOT = "#e0544a", (5, 1.5), (1.5, 1), (6.4, 1.6, 1, 1.6)
_CRITERIA = {
    "update": Look("update", "#4a4a4a", "", "D"),
    "magnitude": Look("weight", "#6b7f8c", _DASHED, "v"),
    "columns": Look("column norm", "#8f8272", _DASH_DOT, "<"),
    "activation": Look("activation", "#9aa59a", _DOTTED, ">"),
}
LOOKS = {
    "original": Look("original", "#2ca25f"),
    "edited": Look("edited", "#1b4f91", _DASHED, "s"),
    "edited_true": Look("original fact, edited", "#8e5bb5", _DASH_DOT, "v", "....", "#d9c6e8"),
    "shared": Look("pruned", _RED, _DOTTED),
    "random": Look("random mask", "#8c8c8c", (4, 1, 1, 1, 1, 1), "X", fill="#bdbdbd"),
    "layer_zeroed": Look("layer zeroed", "#6f6f6f", (8, 2), "^", "////", "#e6e6e6"),
    "masked": Look("mask active throughout", _RED),
    "masked_weights": Look("… on the old weights only", _RED, hatch="....", fill="#f3c3bd"),
    "masked_after": Look("mask put on after editing", _RED, hatch="////", fill="#f7d5d2"),
    "patched_attention": Look("attention", "#7b3294"),
    "patched_mlp": Look("MLP", "#d98f1c", _DASHED),
    "patched_both": Look("attention and MLP", "#303030", _DOTTED),
    **_CRITERIA,
    **{f"{name}, restored": look._replace(label=f"{look.label}, restored", fill="white") for name, look in _CRITERIA.items()},
    **{f"{name}, zeroed": look._replace(label=f"{look.label}, zeroed") for name, look in _CRITERIA.items()},
    "sigmoid": Look("trained, sigmoid", _RED),
    "hard-concrete": Look("trained, hard concrete", "#6a2c91", "", "s"),
    "topk": Look("trained, top-k", "#e09a1a", "", "^"),
    "this_mask": Look("mask of the other figures", _RED, "", "*"),
    "train": Look("edits trained on", _RED, _DASHED, "s", fill="white"),
    "test": Look("test facts", _RED),
    "common_energy": Look("common energy", "#000000", "", "D"),
}
ORDER = tuple(LOOKS)
LABELS = {name: look.label for name, look in LOOKS.items()}
PALETTE = {name: look.colour for name, look in LOOKS.items()}
DASHES = {name: look.dashes for name, look in LOOKS.items()}
MARKERS = {name: look.marker for name, look in LOOKS.items()}
HATCHES = {name: look.hatch for name, look in LOOKS.items()}
FILLS = {name: look.fill or look.colour for name, look in LOOKS.items()}
CRITERIA = tuple(_CRITERIA)
NO_MASK = {"edited": "no mask"}  # the edited state's name beside masks


def rows(frame: pd.DataFrame, **where: object) -> pd.DataFrame:
    """The rows whose columns have the values given, one or any of several.

    OnemaskError when one of them has no row, lest a panel or a curve be empty unseen.
    """
    values = {column: list(value) if isinstance(value, (list, tuple)) else [value] for column, value in where.items()}
    kept = frame[np.logical_and.reduce([frame[column].isin(several) for column, several in values.items()])]
    lacking = {column: [value for value in several if value not in set(kept[column])] for column, several in values.items()}
    if lacking := {column: several for column, several in lacking.items() if several}:
        raise OnemaskError(f"rows with {where}", f"none of {lacking}", "Mend the table given to the figure.")
    return kept
