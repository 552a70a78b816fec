"""Figure 5: activations of the residual stream behind each layer, by hidden dimension, at the last prompt position."""

from collections.abc import Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LogNorm
from matplotlib.figure import SubFigure
from matplotlib.image import AxesImage
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from onemask.figures import style
from onemask.measuring.schemas import ACTIVATIONS

SIZE = (style.TEXT, 3.3)
TABLES = {"activations": ACTIVATIONS}
STATES = ("original", "edited", "shared")
MAPS = {"activation": "magma_r", "difference": "viridis_r"}  # light to dark, so they read in grey
CELLS = 300  # across a panel: about one a pixel of the PNG, so that no outlier is lost
LOWEST = 0.05  # share of the values that lie below the scale: a few that vanish would take most of it


def mark_rows(axes: Axes, layers: Sequence[int]) -> None:
    """A dashed line along the edited layer of a map with layers on y, or at the bounds of several; seen on light and on dark."""
    single = len(layers) == 1
    name = f"edited layer ({layers[0]})" if single else f"edited layers ({layers[0]}\N{EN DASH}{layers[-1]})"
    look = {"color": "black", "linewidth": 0.8, "linestyle": (0, (4, 3))}
    rim = [withStroke(linewidth=1.8, foreground="white")]
    for i, place in enumerate(layers if single else (layers[0] - 0.5, layers[-1] + 0.5)):
        axes.axhline(place, **look, path_effects=rim, label="_" * i + name)


def by_layer(activations: pd.DataFrame, state: str, column: str) -> pd.DataFrame:
    """One column of one state, layers down and dimensions across, the embedding left out."""
    table = style.rows(activations, state=state)
    return table[table["layer"] >= 0].pivot(index="layer", columns="dimension", values=column)


def coarse(values: np.ndarray) -> tuple[np.ndarray, int]:
    """The largest of each `step` neighbouring columns, so that at most `CELLS` are left, and `step`."""
    step = -(-values.shape[1] // CELLS)
    return np.maximum.reduceat(values, np.arange(0, values.shape[1], step), axis=1), step


def scale(tables: Sequence[pd.DataFrame]) -> LogNorm:
    """One logarithmic scale for several tables, values of 0 left out of account."""
    values = np.concatenate([table.to_numpy().ravel() for table in tables])
    found = values[values > 0] if (values > 0).any() else np.ones(1)
    return LogNorm(np.quantile(found, LOWEST), max(found.max(), 1.001 * found.min()))


def _map(axes: Axes, table: pd.DataFrame, norm: LogNorm, colours: Colormap) -> AxesImage:
    cells, step = coarse(table.to_numpy())
    extent = (-0.5, cells.shape[1] * step - 0.5, table.index[0] - 0.5, table.index[-1] + 0.5)
    shown = {"extent": extent, "origin": "lower", "aspect": "auto", "interpolation": "none"}
    image = axes.imshow(np.ma.masked_equal(cells, 0), norm=norm, cmap=colours, **shown)
    axes.set_xlim(-0.5, table.shape[1] - 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.spines[:].set_visible(True)
    return image


def _row(panels: Sequence[Axes], tables: Sequence[pd.DataFrame], kind: str, layers: Sequence[int]) -> AxesImage:
    """Maps of `tables` on one scale, without numbers on y."""
    norm, colours = scale(tables), matplotlib.colormaps[MAPS[kind]].with_extremes(bad="white")
    for axes, table in zip(panels, tables, strict=True):
        image = _map(axes, table, norm, colours)
        mark_rows(axes, layers)
        axes.tick_params(labelleft=False)
    return image


def _key(subfigure: SubFigure, axes: Axes, images: dict[str, AxesImage], panel: Axes) -> None:
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
        panel.set_title(style.labels[state] + " − original" * (panel in bottom))
    for panel in (top[0], *bottom):
        panel.set_xlabel("hidden dimension")
