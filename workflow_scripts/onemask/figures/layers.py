"""Which layer should be edited for a mask to reverse the edits? ROME at several layers, test facts."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure

from onemask.figures import style
from onemask.figures.compose import legend
from onemask.figures.mask_shares import whiskers
from onemask.summaries.schemas import MEASURES

SIZE = (style.TEXT, 2.9)
TABLES = {"study": MEASURES}
LAYER = r"-layer(\d+)$"
UNTRAINED = ("none", "original", "random", "layer_zeroed")
# metric and mask -> label, state whose look it takes, marker
CURVES = {
    ("common_energy", "none"): (style.labels["common_energy"], "common_energy", "D"),
    ("success", "none"): ("editing success", "edited", "s"),
    ("rsr", "trained"): ("RSR, trained mask", "shared", "o"),
    ("rsr", "layer_zeroed"): ("RSR, layer zeroed", "layer_zeroed", "^"),
    ("rsr", "random"): ("RSR, random mask", "random", "x"),
    ("rsr", "none"): ("RSR, no mask", "edited_true", "v"),
}
THIN = {"elinewidth": 0.6, "capsize": 1.2, "capthick": 0.6}


def _by_layer(measures: pd.DataFrame) -> pd.DataFrame:
    """The rows of one layer each, column `layer` added, the mask that is no control called "trained"."""
    found = measures["method"].str.extract(LAYER, expand=False)
    shown = found.notna() & ((measures["metric"] == "common_energy") | (measures["split"] == "test"))
    table = measures[shown].assign(layer=found[shown].astype(int))
    mask = table["mask"].str.replace(r"^random-.*", "random", regex=True)
    return table.assign(mask=mask.where(mask.isin(UNTRAINED), "trained")).sort_values("layer")


def _curves(axes: Axes, table: pd.DataFrame) -> None:
    for (metric, mask), (name, state, marker) in CURVES.items():
        drawn, look = style.rows(table, metric=metric, mask=mask), style.looks[state]
        place = drawn["layer"], drawn["value"]
        axes.plot(*place, color=look.colour, linestyle=look.line, marker=marker, label=name, zorder=3 if mask == "trained" else 2)
        axes.errorbar(*place, whiskers(drawn), fmt="none", ecolor=look.colour, **THIN)
    layers = sorted(set(table["layer"]))
    axes.set_xticks(layers, layers)
    axes.set(xlabel="edited layer", ylabel="share", ylim=(-0.03, 1.05), yticks=np.linspace(0, 1, 5))


def _away(x: pd.Series, y: pd.Series) -> np.ndarray:
    """Signs (points, 2) of the direction away from the points nearby, where a point's number stands free."""
    points = np.stack([x / (np.ptp(x) or 1), y], axis=1)
    apart = points[:, None] - points[None]
    push = apart / (np.linalg.norm(apart, axis=2, keepdims=True) + 1e-3) ** 3
    return np.where(push.sum(axis=1) >= 0, 1, -1)


def _scatter(axes: Axes, table: pd.DataFrame) -> None:
    energy = style.rows(table, metric="common_energy", mask="none").set_index("layer")["value"]
    rsr = style.rows(table, metric="rsr", mask="trained").set_index("layer")
    rsr = rsr.assign(energy=energy.reindex(rsr.index))
    colour = style.looks["shared"].colour
    axes.errorbar(rsr["energy"], rsr["value"], whiskers(rsr), fmt="o", color=colour, ecolor=colour, markersize=4, **THIN)
    for point, (right, up) in zip(rsr.itertuples(), _away(rsr["energy"], rsr["value"]), strict=True):
        place = {"ha": "left" if right > 0 else "right", "va": "bottom" if up > 0 else "top", "fontsize": style.SMALL}
        axes.annotate(str(point.Index), (point.energy, point.value), (3 * right, up), textcoords="offset points", **place)
    axes.margins(x=0.1)
    axes.set(xlabel="common energy of the updates", ylabel="RSR, trained mask", ylim=(-0.03, 1.05), yticks=np.linspace(0, 1, 5))


def _correlation(axes: Axes, measures: pd.DataFrame) -> None:
    row = style.rows(measures, metric="rank_correlation").iloc[0]
    text = f"Spearman {row['value']:.2f}"
    if pd.notna(row["ci_low"]):
        text += f" [{row['ci_low']:.2f}, {row['ci_high']:.2f}]"
    axes.set_title(text.replace("-", "\N{MINUS SIGN}"))


def draw(subfigure: SubFigure, measures: pd.DataFrame) -> None:
    """Draw from a `measures` table: methods "rome-layer5", …, and rank_correlation over them."""
    curves, scatter = subfigure.subplots(1, 2, width_ratios=[1.25, 1])
    table = _by_layer(measures)
    _curves(curves, table)
    _scatter(scatter, table)
    _correlation(scatter, measures)
    legend(subfigure, curves, columns=3)
