"""Where does the last position look? Its attention to the subject's last token, by layer and head."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import SubFigure
from matplotlib.patches import Rectangle

from onemask.figures import panels, style
from onemask.measuring.schemas import ATTENTION

SIZE = (style.TEXT, 2.6)
TABLES = {"attention": ATTENTION}
STATES = ("original", "edited", "shared")
MAP = "RdBu_r"
TOP = 3
LOSS = 0.2  # of the scale: a loss beyond it is marked, since gains and losses look alike in grey


def gains(attention: pd.DataFrame, state: str) -> pd.DataFrame:
    """Mean over facts of the weight in `state` less the original model's, layers down and heads across."""
    place = ["case_id", "layer", "head"]
    ours, original = (style.rows(attention, state=name).set_index(place)["weight"] for name in (state, "original"))
    return (ours - original).groupby(["layer", "head"]).mean().unstack("head")


def largest(table: pd.DataFrame) -> list[tuple[int, int]]:
    """Layer and head of the largest changes that are not 0, the largest first."""
    sizes = table.abs().stack()
    return list(sizes[sizes > 0].nlargest(TOP).index)


def _by_layer(axes: Axes, attention: pd.DataFrame, layers: Sequence[int]) -> None:
    table = style.rows(attention, state=STATES)
    panels.curves(axes, table.groupby(["state", "case_id", "layer"], as_index=False)["weight"].mean(), "layer", "weight")
    panels.mark_layers(axes, layers)
    axes.set(title="all heads", xlabel="layer", ylabel="attention to last subject token", ylim=(0, None))


def _by_head(axes: Axes, table: pd.DataFrame, limit: float, layers: Sequence[int]) -> QuadMesh:
    image = panels.layer_map(axes, table, layers, 5, vmin=-limit, vmax=limit, cmap=MAP)
    lost, head = np.nonzero(table.to_numpy() < -LOSS * limit)
    if len(lost):
        axes.plot(head + 0.5, lost + 0.5, "_", color="black", markersize=3, markeredgewidth=0.7, path_effects=panels.RIM)
    for layer, head in largest(table):
        corner = table.columns.get_loc(head), table.index.get_loc(layer)
        axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor="black", linewidth=0.7, zorder=3, path_effects=panels.RIM))
    axes.set(xlabel="head", ylabel="layer")
    return image


def draw(subfigure: SubFigure, attention: pd.DataFrame, layers: Sequence[int]) -> None:
    """Draw from an `attention` table; `layers` are the edited ones."""
    curves, *maps = subfigure.subplots(1, 3, width_ratios=(1.3, 1, 1))
    _by_layer(curves, attention, layers)
    tables = {state: gains(attention, state) for state in STATES[1:]}
    limit = max(float(table.abs().to_numpy().max()) for table in tables.values()) or 1.0
    for axes, (state, table) in zip(maps, tables.items(), strict=True):
        image = _by_head(axes, table, limit, layers)
        named = ", ".join(f"{layer}.{head}" for layer, head in largest(table)) or "no change"
        axes.set_title(f"{style.LABELS[state]} − original\n{named}")
    bar = subfigure.colorbar(image, ax=maps, aspect=20, pad=0.02)
    bar.set_label("gain in attention weight")
    panels.legend(subfigure, curves, columns=4)
