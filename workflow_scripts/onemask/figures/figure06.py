"""Figure 6: does an edit still succeed while the mask is active? By relation, with 95% intervals."""

import pandas as pd
from matplotlib.figure import SubFigure

from onemask.figures import style
from onemask.figures.compose import legend
from onemask.summaries.schemas import MEASURES

SIZE = (style.TEXT, 3.6)
TABLES = {"blocking": MEASURES}
MASKS = {"none": "unmasked", "masked": "masked", "masked_weights": "masked_weights", "masked_after": "masked_after"}
METRICS = {"success": "success, P(o*) > P(o)", "token_accuracy": "token accuracy"}


def draw(subfigure: SubFigure, blocking: pd.DataFrame) -> None:
    """Draw from a `measures` table of metrics success and token_accuracy, masks none, masked, masked_weights and masked_after."""
    axes = subfigure.subplots(len(METRICS), 1, sharex=True)
    for panel, (metric, title) in zip(axes, METRICS.items(), strict=True):
        style.grouped_bars(panel, style.rows(blocking, metric=metric), MASKS)
        panel.set_ylabel(title)
    counts = style.rows(blocking, metric="success", mask="none").set_index("relation")["n"]
    positions = style.relation_positions(blocking)
    names = [f"{name}\n{counts[name]}" if name in counts else name for name in positions]
    axes[-1].set_xticks(list(positions.values()), names)
    axes[-1].set_xlabel("relation (number of facts)")
    legend(subfigure, axes[0], columns=3, zero=bool((blocking["value"] == 0).any()))
