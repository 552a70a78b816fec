"""Figure 14: reversal by pruning without training: success rate against the share of the edited matrix that is pruned."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure

from onemask.figures import style
from onemask.figures.compose import legend
from onemask.figures.mask_shares import CRITERIA, FILLS, MARKERS, TRAINED, whiskers
from onemask.summaries.schemas import MEASURES

SIZE = (style.TEXT, 2.7)
TABLES = {"pruning": MEASURES, "reversal": MEASURES, "studies": MEASURES}
NAMES = {"update": "update", "magnitude": "weight", "columns": "column norm", "activation": "activation"}
TITLES = {"zero": "pruned weights set to zero", "original": "pruned weights restored"}
GOAL = 0.9
POINTS = {"random": "random", "shared": "this_mask"}  # mask -> look


def _curve(axes: Axes, rsr: pd.DataFrame, criterion: str, fill: str) -> None:
    family = f"{criterion}-{fill}"
    found = rsr["mask"].str.extract(rf"^{family}-([\d.]+)$", expand=False).astype(float)
    table = style.rows(rsr.assign(share=found / 100, family=np.where(found.notna(), family, "")), family=family)
    table, look = table.sort_values("share"), style.looks[family]
    form = {"linestyle": look.line, "marker": MARKERS[family], "label": NAMES[criterion]}
    axes.plot(table["share"], table["value"], color=look.colour, **form)
    axes.fill_between(table["share"], table["ci_low"], table["ci_high"], color=look.colour, alpha=0.2, linewidth=0)


def _points(axes: Axes, measures: pd.DataFrame, split: str, masks: list[str], state: str) -> None:
    """RSR of masks of one look against the share that each prunes."""
    shares = [style.rows(measures, metric="pruned", relation="all", mask=mask)["value"].iloc[0] for mask in masks]
    where, look = {"metric": "rsr", "relation": "all", "split": split}, style.looks[state]
    rsr = pd.concat([style.rows(measures, mask=mask, **where).head(1) for mask in masks])
    rim = {"markeredgecolor": "black", "markeredgewidth": 0.5, "markersize": 8} if state == "this_mask" else {"markersize": 4.5}
    form = {"marker": MARKERS[state], "linestyle": "none", "zorder": 5, "label": style.labels[state]}
    axes.plot(shares, rsr["value"], color=look.colour, **form, **rim)
    thin = {"elinewidth": 0.8, "capsize": 1.5, "capthick": 0.8, "zorder": 4.9}
    axes.errorbar(shares, rsr["value"], whiskers(rsr), fmt="none", ecolor=look.colour, **thin)


def _trained(studies: pd.DataFrame) -> dict[str, list[str]]:
    """Names of the trained masks beside the one of the other figures, by the family whose look they take."""
    masks = style.rows(studies, metric="rsr")["mask"].unique()
    found = {family: [mask for mask in masks if mask.rpartition("-")[0] == family] for family in TRAINED}
    return {family: names for family, names in found.items() if names}


def draw(subfigure: SubFigure, pruning: pd.DataFrame, reversal: pd.DataFrame, studies: pd.DataFrame | None = None) -> None:
    """Draw from `measures`: rsr of masks as "update-zero-30" (percent), and rsr and pruned of trained masks and a random one.

    The facts are those of the split of `pruning`. studies: further trained masks, as "topk-10", or None.
    """
    rsr = style.rows(pruning, metric="rsr", relation="all")
    split = rsr["split"].iloc[0]
    panels = subfigure.subplots(1, len(FILLS), sharey=True)
    for axes, fill in zip(panels, FILLS, strict=True):
        axes.axhline(GOAL, color="black", linewidth=0.6, linestyle=":", zorder=0, label=f"{GOAL:.0%} reversed")
        for criterion in CRITERIA:
            _curve(axes, rsr[rsr["split"] == split], criterion, fill)
        for family, masks in ({} if studies is None else _trained(studies)).items():
            _points(axes, studies, split, masks, family)
        for mask, state in POINTS.items():
            _points(axes, reversal, split, [mask], state)
        axes.set(title=TITLES[fill], xlabel="pruned share of the weights", xlim=(-0.03, 1.03), xticks=np.linspace(0, 1, 6))
        axes.set(ylim=(-0.03, 1.05), yticks=np.linspace(0, 1, 5))
    panels[0].set_ylabel("reversal success rate")
    legend(subfigure, panels[0], columns=4)
