"""Does a mask trained on one editor's edits reverse another's? Reversal success rate on test facts."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from onemask.editors.registry import EDITORS
from onemask.figures import style
from onemask.summaries.schemas import MEASURES

SIZE = (style.COLUMN, 3.0)
TABLES = {"study": MEASURES}
METHODS = {name: editor.title for name, editor in EDITORS.items()}
CONTROLS = {"random": style.labels["random"], "none": style.labels["unmasked"]}
TEST_SPLITS = ("test", "joint_test")
MAP = "Blues"  # light to dark, so it reads in grey and saves ink
DARK = 0.65  # from this value on a number is white


def _cells(axes: Axes, table: pd.DataFrame, names: dict[str, str]) -> AxesImage:
    """A cell for each row and column of `table` with its number; NaN lets the hatched ground show."""
    axes.patch.set(facecolor="white", edgecolor="#b0b0b0", hatch="////")
    values: np.ndarray = table.to_numpy()
    image = axes.imshow(values, cmap=MAP, vmin=0, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        if not np.isnan(value):
            colour = "white" if value >= DARK else "black"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=style.SMALL)
        if table.index[row] == table.columns[column]:
            axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, linewidth=1.2, clip_on=False, zorder=3))
    axes.set_yticks(range(len(table)), [names[mask] for mask in table.index])
    axes.set_xticks(range(table.shape[1]), [METHODS[method] for method in table.columns], rotation=90)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return image


def draw(subfigure: SubFigure, measures: pd.DataFrame) -> None:
    """Draw from a `measures` table of rsr; `mask` is a method's name, random or none, `method` whose edits it is put over."""
    measures = style.rows(measures, metric="rsr")
    measures = measures[measures["split"].isin(TEST_SPLITS)]
    kinds = {mask: "trained" for mask in METHODS} | {mask: "control" for mask in CONTROLS}
    measures = measures.assign(kind=measures["mask"].map(kinds))
    methods = [method for method in METHODS if method in set(measures["method"])]
    tables = []
    for kind, names in (("trained", METHODS), ("control", CONTROLS)):
        table = style.rows(measures, kind=kind).pivot(index="mask", columns="method", values="value")
        tables.append(table.reindex(index=[mask for mask in names if mask in table.index], columns=methods))
    panels = subfigure.subplots(2, 1, sharex=True, height_ratios=[len(table) for table in tables])
    images = [_cells(axes, table, METHODS | CONTROLS) for axes, table in zip(panels, tables, strict=True)]
    panels[0].tick_params(labelbottom=False)
    panels[0].set_ylabel("mask trained on")
    panels[1].set(xlabel="put over edits of", ylabel="control")
    subfigure.align_ylabels(panels)
    bar = subfigure.colorbar(images[0], ax=list(panels), ticks=np.linspace(0, 1, 5), aspect=30)
    bar.set_label("reversal success rate")
