"""Figure 6: does an edit still succeed while the mask is active? By relation, with 95% intervals."""

import pandas as pd
from matplotlib.figure import SubFigure

from onemask.figures import panels, style
from onemask.summaries.schemas import MEASURES

SIZE = (style.TEXT, 3.6)
TABLES = {"blocking": MEASURES}
STATES = ("edited", "masked", "masked_weights", "masked_after")
METRICS = {"success": "success, P(o*) > P(o)", "token_accuracy": "token accuracy"}


def draw(subfigure: SubFigure, blocking: pd.DataFrame) -> None:
    """Draw from a `measures` table of metrics success and token_accuracy, states edited (without mask) and masked so or so."""
    axes = subfigure.subplots(len(METRICS), 1, sharex=True)
    for panel, (metric, title) in zip(axes, METRICS.items(), strict=True):
        panels.relation_bars(panel, style.rows(blocking, metric=metric, state=STATES), style.LABELS | style.NO_MASK)
        panel.set_ylabel(title)
    counts = style.rows(blocking, metric="success", state="edited").set_index("relation")["n"]
    places = panels.relation_places(blocking)
    axes[-1].set_xticks(list(places.values()), [f"{name}\n{counts[name]}" if name in counts else name for name in places])
    axes[-1].set_xlabel("relation (number of facts)")
    panels.legend(subfigure, axes[0], columns=3, zero=bool((blocking["value"] == 0).any()))
