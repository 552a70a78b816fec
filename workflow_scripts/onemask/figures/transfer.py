"""Does a mask trained on one editor's edits reverse another's? Reversal success rate on test facts."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import SubFigure
from matplotlib.patches import Rectangle

from onemask.data.splits import SPLITS
from onemask.editors.registry import EDITORS
from onemask.figures import panels, style
from onemask.summaries.schemas import MEASURES

SIZE = (style.COLUMN, 3.0)
TABLES = {"study": MEASURES}
CONTROLS = {"random": style.LABELS["random"]} | style.NO_MASK
TEST_SPLITS = [name for name, split in SPLITS.items() if split.role == "test"]
METHODS = {name: editor.title for name, editor in EDITORS.items()}
MAP = "Blues"  # light to dark, so it reads in grey and saves ink


def _cells(axes: Axes, table: pd.DataFrame) -> QuadMesh:
    """A cell for each row and column of `table` with its number; NaN lets the hatched ground show."""
    axes.patch.set(facecolor="white", edgecolor="#b0b0b0", hatch="////")
    numbers = {"annot": True, "fmt": ".2f", "annot_kws": {"fontsize": style.SMALL}}
    image = panels.heatmap(axes, table, vmin=0, vmax=1, cmap=MAP, **numbers)
    for row, column in np.argwhere(table.index.to_numpy()[:, None] == table.columns.to_numpy()[None]):
        axes.add_patch(Rectangle((column, row), 1, 1, fill=False, edgecolor="black", linewidth=1.2, clip_on=False, zorder=3))
    axes.set_yticks(np.arange(len(table)) + 0.5, table.index)
    axes.set_xticks(np.arange(table.shape[1]) + 0.5, table.columns, rotation=90)
    axes.tick_params(length=0)
    return image


def draw(subfigure: SubFigure, measures: pd.DataFrame) -> None:
    """Draw from a `measures` table of rsr; `method`: whose edits; `trained_on`: whose edits a shared mask saw."""
    measures = measures[(measures["metric"] == "rsr") & measures["split"].isin(TEST_SPLITS)]
    trained = style.rows(measures, state="shared").pivot(index="trained_on", columns="method", values="value")
    controls = style.rows(measures, state=tuple(CONTROLS)).pivot(index="state", columns="method", values="value")
    methods = {*measures["method"], *trained.index}
    titles = {name: title for name, title in METHODS.items() if name in methods}
    titles |= {name: name for name in sorted(methods - set(METHODS))}
    columns = [name for name in titles if name in set(measures["method"])]
    tables = [
        table.reindex(index=[name for name in names if name in table.index], columns=columns).rename(index=names, columns=titles)
        for table, names in ((trained, titles), (controls, CONTROLS))
    ]
    axes = subfigure.subplots(2, 1, sharex=True, height_ratios=[len(table) for table in tables])
    image, _ = [_cells(panel, table) for panel, table in zip(axes, tables, strict=True)]
    axes[0].tick_params(labelbottom=False)
    axes[0].set(xlabel="", ylabel="mask trained on")
    axes[1].set(xlabel="put over edits of", ylabel="control")
    subfigure.align_ylabels(axes)
    bar = subfigure.colorbar(image, ax=list(axes), ticks=np.linspace(0, 1, 5), aspect=30)
    bar.set_label("reversal success rate")
