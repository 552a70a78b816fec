"""Figure 14: reversal by pruning without training: success rate against the share of the edited matrix that is pruned."""

import numpy as np
import pandas as pd
from matplotlib.figure import SubFigure

from onemask.figures import panels, style
from onemask.summaries.schemas import MEASURES

SIZE = (style.TEXT, 2.7)
TABLES = {"pruning": MEASURES, "reversal": MEASURES, "studies": MEASURES}
TITLES = {"zeroed": "pruned weights set to zero", "restored": "pruned weights restored"}
TRAINED = ("sigmoid", "hard-concrete", "topk")
GOAL = 0.9


def draw(subfigure: SubFigure, pruning: pd.DataFrame, reversal: pd.DataFrame, studies: pd.DataFrame | None = None) -> None:
    """Draw from `measures`: rsr by criterion, share and state zeroed or restored, and rsr and pruned of masks, as points.

    The facts are those of the split of `pruning`. reversal: of the run's mask and a random one. studies: further trained masks.
    """
    rsr = style.rows(pruning, metric="rsr", relation="all")
    where = {"metric": "rsr", "relation": "all", "split": rsr["split"].iloc[0]}
    points = [panels.at_pruned_share(reversal, state=("random", "shared"), **where)]
    if studies is not None:
        further = panels.at_pruned_share(studies, state="shared", **where)
        points.append(further[further["look"].isin(TRAINED)])
    axes = subfigure.subplots(1, len(TITLES), sharey=True)
    for panel, (state, title) in zip(axes, TITLES.items(), strict=True):
        panel.axhline(GOAL, color="black", linewidth=0.6, linestyle=":", zorder=0, label=f"{GOAL:.0%} reversed")
        table = style.rows(rsr, state=state, split=where["split"], parametrisation=style.CRITERIA)
        panels.curves(panel, table, "share", hue="parametrisation", markers=True)
        masks = pd.concat(points)
        panels.curves(panel, masks, "pruned", hue="look", joined=False, markers=True, err_style="bars", markersize=6, zorder=5)
        panel.set(title=title, xlabel="pruned share of the weights", xlim=(-0.03, 1.03), xticks=np.linspace(0, 1, 6))
        panel.set(**panels.SHARES)
    axes[0].set_ylabel("reversal success rate")
    panels.legend(subfigure, axes[0], columns=4)
