"""One visual language: every state has one colour, line and hatch, told apart in colour and in grey print."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from matplotlib.patheffects import withStroke

from onemask.io.errors import OnemaskError

COLUMN, TEXT = 3.03, 6.30  # widths of a column and of the text block, inches
SMALL, NORMAL = 6.5, 7.5  # font sizes, points
RC = {
    "font.family": "DejaVu Sans",
    "font.size": NORMAL,
    "axes.titlesize": NORMAL,
    "axes.labelsize": NORMAL,
    "figure.titlesize": NORMAL + 1,
    "figure.titleweight": "bold",
    "legend.fontsize": SMALL,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.2,
    "lines.markersize": 3,
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "legend.columnspacing": 1.4,
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
}


@dataclass(frozen=True)
class Look:
    """How a state is drawn: colour of lines and edges, line style, hatch and fill of bars (fill None: the colour)."""

    colour: str
    line: str | tuple = "-"
    hatch: str = ""
    fill: str | None = None


_EDITED, _PRUNED = Look("#1b4f91", (0, (5, 1.5))), Look("#e0544a", (0, (1.5, 1)))
looks = {
    "original": Look("#2ca25f"),
    "edited": _EDITED,
    "edited_true": Look("#8e5bb5", "-.", "....", "#d9c6e8"),  # the original fact in the edited model
    "shared": _PRUNED,
    "random": Look("#8c8c8c", (0, (4, 1, 1, 1, 1, 1)), fill="#bdbdbd"),
    "layer_zeroed": Look("#6f6f6f", (0, (8, 2)), "////", "#e6e6e6"),
    "unmasked": _EDITED,
    "masked": _PRUNED,
    "masked_weights": Look(_PRUNED.colour, "-", "....", "#f3c3bd"),
    "masked_after": Look(_PRUNED.colour, "-", "////", "#f7d5d2"),
    "this_mask": Look(_PRUNED.colour, "none"),  # a point among other masks, not a curve
    "sigmoid": Look(_PRUNED.colour),
    "hard-concrete": Look("#6a2c91"),
    "topk": Look("#e09a1a"),
    "update-zero": Look("#4a4a4a"),
    "update-original": Look("#4a4a4a"),
    "magnitude-zero": Look("#6b7f8c", (0, (5, 1.5))),
    "magnitude-original": Look("#6b7f8c", (0, (5, 1.5))),
    "columns-zero": Look("#8f8272", "-."),
    "columns-original": Look("#8f8272", "-."),
    "activation-zero": Look("#9aa59a", (0, (1.5, 1))),
    "activation-original": Look("#9aa59a", (0, (1.5, 1))),
    "common_energy": Look("black"),
    "attention": Look("#7b3294"),
    "mlp": Look("#d98f1c", (0, (5, 1.5))),
    "both": Look("#303030", (0, (1.5, 1))),
}
labels = {
    "original": "original",
    "edited": "edited",
    "edited_true": "original fact, edited",
    "shared": "pruned",
    "random": "random mask",
    "layer_zeroed": "layer zeroed",
    "unmasked": "no mask",
    "masked": "mask active throughout",
    "masked_weights": "… on the old weights only",
    "masked_after": "mask put on after editing",
    "this_mask": "mask of the other figures",
    "sigmoid": "trained, sigmoid",
    "hard-concrete": "trained, hard concrete",
    "topk": "trained, top-k",
    "update-zero": "update, zeroed",
    "update-original": "update, restored",
    "magnitude-zero": "weight, zeroed",
    "magnitude-original": "weight, restored",
    "columns-zero": "column norm, zeroed",
    "columns-original": "column norm, restored",
    "activation-zero": "activation, zeroed",
    "activation-original": "activation, restored",
    "common_energy": "common energy",
    "attention": "attention",
    "mlp": "MLP",
    "both": "attention and MLP",
}
states = {"none": "edited"}  # names of masks in `measures` that are not the state's own name


def rows(frame: pd.DataFrame, **where: str | int) -> pd.DataFrame:
    """The rows whose columns have the values given; OnemaskError when there is none, lest a panel be empty unseen."""
    chosen = frame.loc[np.logical_and.reduce([frame[column] == value for column, value in where.items()])]
    if chosen.empty:
        raise OnemaskError(f"rows with {where}", f"none among {len(frame)}", "Mend the table given to the figure.")
    return chosen


def line(axes: Axes, values: pd.DataFrame, state: str, label: str) -> None:
    """Mean and standard error over the rows (facts) of `values` against its columns (positions on x)."""
    look, mean, error = looks[state], values.mean(), values.sem().fillna(0.0)
    axes.plot(values.columns, mean, color=look.colour, linestyle=look.line, label=label)
    axes.fill_between(values.columns, mean - error, mean + error, color=look.colour, alpha=0.25, linewidth=0)


def bars(axes: Axes, at: Iterable[float], table: pd.DataFrame, state: str, width: float = 0.7) -> BarContainer:
    """Bars of column `value` with whiskers `ci_low` to `ci_high`; a diamond on the baseline says "exactly 0"."""
    look, at = looks[state], np.asarray(at, dtype=float)
    value, low, high = (table[name].to_numpy(dtype=float) for name in ("value", "ci_low", "ci_high"))
    fill = {"facecolor": look.fill or look.colour, "edgecolor": look.colour, "hatch": look.hatch, "linewidth": 0.5}
    drawn = axes.bar(at, value, width, label=labels[state], **fill)
    whiskers = np.stack([value - low, high - value]).clip(min=0)
    thin = {"ecolor": "black", "elinewidth": 0.6, "capthick": 0.6, "capsize": 1.2}
    for part in axes.errorbar(at, value, whiskers, fmt="none", **thin).get_children():
        part.set_path_effects([withStroke(linewidth=1.1, foreground="white")])  # to be seen on dark bars
    zero = value == 0
    if zero.any():  # an empty unclipped artist would stretch the layout to the figure's corner
        axes.plot(at[zero], value[zero], "D", color=look.colour, markersize=2.4, clip_on=False, zorder=5)
    return drawn


def write_value(axes: Axes, at: float, above: float, text: str) -> None:
    """A number in small print just above the height `above`."""
    text = text.replace("-", "\N{MINUS SIGN}")
    axes.annotate(text, (at, above), (0, 2), textcoords="offset points", ha="center", fontsize=SMALL)


def relation_positions(measures: pd.DataFrame) -> dict[str, float]:
    """Positions on x by relation: "all" first and set apart, then the relations by number."""
    names = sorted(set(measures["relation"]) - {"all"}, key=lambda name: (len(name), name))
    return {"all": 0.0} | {name: 1.4 + i for i, name in enumerate(names)}


def grouped_bars(axes: Axes, measures: pd.DataFrame, masks: Mapping[str, str]) -> None:
    """Shares by relation, one bar a mask; `masks` maps the mask's name in the table to its state."""
    positions = relation_positions(measures)
    centres, width = np.array(list(positions.values())), 0.84 / len(masks)
    for i, (mask, state) in enumerate(masks.items()):
        table = rows(measures, mask=mask).set_index("relation").reindex(positions)
        bars(axes, centres + (i - (len(masks) - 1) / 2) * width, table, state, width)
    axes.axvline(0.7, color="black", linewidth=0.5, linestyle=":")
    axes.set(xlim=(-0.6, centres[-1] + 0.6), ylim=(0, 1.05), yticks=np.linspace(0, 1, 5))
    axes.set_xticks(centres, positions)
    axes.tick_params(axis="x", length=0)


def mark_layers(axes: Axes, layers: Sequence[int]) -> None:
    """A thin dashed line at the edited layer, or a grey band over the edited layers."""
    if len(layers) == 1:
        axes.axvline(layers[0], color="black", linewidth=0.6, linestyle="--", zorder=0, label=f"edited layer ({layers[0]})")
    else:
        name = f"edited layers ({layers[0]}\N{EN DASH}{layers[-1]})"
        axes.axvspan(layers[0] - 0.5, layers[-1] + 0.5, color="#e4e4e4", linewidth=0, zorder=0, label=name)
