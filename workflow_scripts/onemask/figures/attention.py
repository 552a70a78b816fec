"""Where does the last position look? Its attention to the subject's last token, by layer and head."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from onemask.figures import style
from onemask.figures.compose import legend
from onemask.figures.figure05 import STATES, mark_rows
from onemask.measuring.schemas import ATTENTION

SIZE = (style.TEXT, 2.6)
TABLES = {"attention": ATTENTION}
MAP = "RdBu_r"
TOP = 3
RIM = [withStroke(linewidth=1.5, foreground="white")]  # to be seen on dark cells
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
    for state in STATES:
        values = style.rows(attention, state=state).groupby(["case_id", "layer"])["weight"].mean().unstack("layer")
        style.line(axes, values, state, style.labels[state])
    style.mark_layers(axes, layers)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set(title="all heads", xlabel="layer", ylabel="attention to last subject token", ylim=(0, None))


def _by_head(axes: Axes, table: pd.DataFrame, limit: float) -> AxesImage:
    image = axes.imshow(table.to_numpy(), cmap=MAP, vmin=-limit, vmax=limit, origin="lower", aspect="auto", interpolation="none")
    lost, head = np.nonzero(table.to_numpy() < -LOSS * limit)
    if len(lost):
        axes.plot(head, lost, "_", color="black", markersize=3, markeredgewidth=0.7, path_effects=RIM)
    for layer, head in largest(table):
        axes.add_patch(Rectangle((head - 0.5, layer - 0.5), 1, 1, fill=False, linewidth=0.7, zorder=3, path_effects=RIM))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.spines[:].set_visible(True)
    axes.set(xlabel="head", ylabel="layer")
    return image


def draw(subfigure: SubFigure, attention: pd.DataFrame, layers: Sequence[int]) -> None:
    """Draw from an `attention` table; `layers` are the edited ones."""
    curves, *maps = subfigure.subplots(1, 3, width_ratios=(1.3, 1, 1))
    _by_layer(curves, attention, layers)
    tables = {state: gains(attention, state) for state in STATES[1:]}
    limit = max(float(table.abs().to_numpy().max()) for table in tables.values()) or 1.0
    for axes, (state, table) in zip(maps, tables.items(), strict=True):
        image = _by_head(axes, table, limit)
        named = ", ".join(f"{layer}.{head}" for layer, head in largest(table)) or "no change"
        axes.set_title(f"{style.labels[state]} − original\n{named}")
        mark_rows(axes, layers)
    bar = subfigure.colorbar(image, ax=maps, aspect=20, pad=0.02)
    bar.set_label("gain in attention weight")
    legend(subfigure, curves, columns=4)
