"""Which layer should be edited for a mask to reverse the edits? ROME at several layers, test facts."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure

from onemask.figures import panels, style
from onemask.summaries.schemas import MEASURES

SIZE = (style.TEXT, 2.9)
TABLES = {"study": MEASURES}
# look -> metric, state (a layer's energy is of none), and what it is in words
CURVES = {
    "common_energy": ("common_energy", "", style.LABELS["common_energy"]),
    "edited": ("success", "edited", "editing success"),
    "shared": ("rsr", "shared", "RSR, trained mask"),
    "layer_zeroed": ("rsr", "layer_zeroed", "RSR, layer zeroed"),
    "random": ("rsr", "random", "RSR, random mask"),
    "edited_true": ("rsr", "edited", "RSR, no mask"),
}


def _by_layer(measures: pd.DataFrame) -> pd.DataFrame:
    """The rows of each curve, of one layer each, with column `look`."""
    shown = measures[measures["layer"].notna() & ((measures["metric"] == "common_energy") | (measures["split"] == "test"))]
    parts = [style.rows(shown, metric=metric, state=state).assign(look=look) for look, (metric, state, _) in CURVES.items()]
    return pd.concat(parts).astype({"layer": int}).sort_values("layer")


def _away(x: pd.Series, y: pd.Series) -> np.ndarray:
    """Signs (points, 2) of the direction away from the points nearby, where a point's number stands free."""
    points = np.stack([x / (np.ptp(x) or 1), y], axis=1)
    apart = points[:, None] - points[None]
    push = apart / (np.linalg.norm(apart, axis=2, keepdims=True) + 1e-3) ** 3
    return np.where(push.sum(axis=1) >= 0, 1, -1)


def _scatter(axes: Axes, table: pd.DataFrame) -> None:
    energy = style.rows(table, look="common_energy").set_index("layer")["value"]
    rsr = style.rows(table, look="shared")
    rsr = rsr.assign(energy=rsr["layer"].map(energy))
    panels.curves(axes, rsr, "energy", hue="look", joined=False, marker="o", err_style="bars")
    for point, (right, up) in zip(rsr.itertuples(), _away(rsr["energy"], rsr["value"]), strict=True):
        place = {"ha": "left" if right > 0 else "right", "va": "bottom" if up > 0 else "top", "fontsize": style.SMALL}
        axes.annotate(str(point.layer), (point.energy, point.value), (3 * right, up), textcoords="offset points", **place)
    axes.margins(x=0.1)
    axes.set(xlabel="common energy of the updates", ylabel="RSR, trained mask", **panels.SHARES)


def _correlation(axes: Axes, measures: pd.DataFrame) -> None:
    row = style.rows(measures, metric="rank_correlation").iloc[0]
    text = f"Spearman {row['value']:.2f}"
    if pd.notna(row["ci_low"]):
        text += f" [{row['ci_low']:.2f}, {row['ci_high']:.2f}]"
    axes.set_title(text.replace("-", "\N{MINUS SIGN}"))


def draw(subfigure: SubFigure, measures: pd.DataFrame) -> None:
    """Draw from a `measures` table: a method's rows by column layer, and rank_correlation over them."""
    curves, scatter = subfigure.subplots(1, 2, width_ratios=[1.25, 1])
    table = _by_layer(measures)
    names = {look: name for look, (_, _, name) in CURVES.items()}
    panels.curves(curves, table, "layer", hue="look", names=names, markers=True, err_style="bars")
    curves.set_xticks(sorted(set(table["layer"])))
    curves.set(xlabel="edited layer", ylabel="share", **panels.SHARES)
    _scatter(scatter, table)
    _correlation(scatter, measures)
    panels.legend(subfigure, curves, columns=3)
