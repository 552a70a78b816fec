"""Figure 5: activations of the residual stream behind each layer, by hidden dimension, at the last prompt position."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm
from matplotlib.figure import SubFigure

from onemask.figures import panels, style
from onemask.measuring.schemas import ACTIVATIONS

SIZE = (style.TEXT, 3.3)
TABLES = {"activations": ACTIVATIONS}
STATES = ("original", "edited", "shared")
MAPS = {"activation": "magma_r", "difference": "viridis_r"}  # light to dark, so they read in grey
CELLS = 200  # across a panel: none narrower than a pixel of the PNG, so that no outlier is lost
LOWEST = 0.05  # share of the values that lie below the scale: a few that vanish would take most of it


def by_layer(activations: pd.DataFrame, state: str, column: str) -> pd.DataFrame:
    """One column of one state, layers down and dimensions across, the embedding left out."""
    table = style.rows(activations, state=state)
    return table[table["layer"] >= 0].pivot(index="layer", columns="dimension", values=column)


def coarse(table: pd.DataFrame) -> pd.DataFrame:
    """The largest of each few neighbouring columns, under the first one's name, so that at most `CELLS` are left."""
    places = np.arange(0, table.shape[1], -(-table.shape[1] // CELLS))
    return pd.DataFrame(np.maximum.reduceat(table.to_numpy(), places, axis=1), table.index, table.columns[places])


def scale(tables: Sequence[pd.DataFrame]) -> LogNorm:
    """One logarithmic scale for several tables, values of 0 left out of account."""
    values = np.concatenate([table.to_numpy().ravel() for table in tables])
    positive = values[values > 0] if (values > 0).any() else np.ones(1)
    return LogNorm(np.quantile(positive, LOWEST), max(positive.max(), 1.001 * positive.min()))


def _row(axes: Sequence[Axes], tables: Sequence[pd.DataFrame], kind: str, layers: Sequence[int]) -> QuadMesh:
    """Maps of `tables` on one scale, without numbers on y; white where a value is 0."""
    norm = scale(tables)
    for panel, table in zip(axes, map(coarse, tables), strict=True):
        look = {"mask": table == 0, "norm": norm, "vmin": norm.vmin, "vmax": norm.vmax, "cmap": MAPS[kind]}
        image = panels.layer_map(panel, table, layers, 4, **look)
        panel.tick_params(labelleft=False)
    return image


def _key(subfigure: SubFigure, axes: Axes, images: dict[str, QuadMesh], panel: Axes) -> None:
    """In the cell that has no map: what the dashed line is, and the colour bars of both rows."""
    axes.set_axis_off()
    axes.legend(*panel.get_legend_handles_labels(), loc="upper center", bbox_to_anchor=(0.5, 1.1), borderaxespad=0)
    for height, (name, image) in zip((0.68, 0.2), images.items(), strict=True):
        bar = subfigure.colorbar(image, cax=axes.inset_axes((0.03, height, 0.94, 0.08)), orientation="horizontal")
        bar.minorticks_off()
        bar.set_label(name, labelpad=1)


def draw(subfigure: SubFigure, activations: pd.DataFrame, layers: Sequence[int]) -> None:
    """Draw from an `activations` table; `layers` are the edited ones."""
    (*top,), (key, *bottom) = subfigure.subplots(2, len(STATES))
    sizes = [by_layer(activations, state, "mean_abs") for state in STATES]
    original, *others = [by_layer(activations, state, "mean") for state in STATES]
    images = {
        "top: mean |activation|": _row(top, sizes, "activation", layers),
        "bottom: |difference of means|": _row(bottom, [(other - original).abs() for other in others], "difference", layers),
    }
    _key(subfigure, key, images, top[0])
    top[0].tick_params(labelleft=True)
    top[0].set_ylabel("layer")
    bottom[-1].yaxis.tick_right()  # on the left, beside the key, numbers would push the columns apart
    bottom[-1].tick_params(labelright=True)
    bottom[-1].yaxis.set_label_position("right")
    bottom[-1].set_ylabel("layer")
    for panel, state in zip([*top, *bottom], STATES + STATES[1:], strict=True):
        panel.set_title(style.LABELS[state] + " − original" * (panel in bottom))
    for panel in (top[0], *bottom):
        panel.set_xlabel("hidden dimension")
