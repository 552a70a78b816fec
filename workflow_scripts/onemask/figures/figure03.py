"""Figure 3: what MLP and attention layers add to the logits of the original and the edited fact."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.ticker import MaxNLocator

from onemask.figures import style
from onemask.figures.compose import legend
from onemask.measuring.schemas import DECOMPOSITION

SIZE = (style.TEXT, 4.2)
TABLES = {"decomposition": DECOMPOSITION}
SERIES = {"original": ("original", "true"), "edited": ("edited", "new"), "edited_true": ("edited", "true")}
FACTS = {"true": "original fact", "new": "edited fact"}


def label(state: str, token: str) -> str:
    """Whose logit, in which model."""
    return f"{FACTS[token]}, {style.labels[state]} model"


def by_layer(decomposition: pd.DataFrame, **where: str) -> pd.DataFrame:
    """Exact contributions in logits, one row a fact, one column a layer, summed over the rows that `where` chooses."""
    return style.rows(decomposition, **where).groupby(["case_id", "layer"])["exact"].sum().unstack("layer")


def layer_panel(
    axes: Axes, decomposition: pd.DataFrame, component: str, series: Mapping[str, tuple[str, str]], layers: Sequence[int]
) -> None:
    """Contribution of one component by layer; `series` maps a look of `style` to (state, token)."""
    for look, (state, token) in series.items():
        values = by_layer(decomposition, component=component, state=state, token=token)
        style.line(axes, values, look, label(state, token))
    style.mark_layers(axes, layers)
    axes.axhline(0, color="black", linewidth=0.4, zorder=0)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set(xlabel="layer", ylabel="contribution (logits)")


def _of_edited(decomposition: pd.DataFrame, look: str, layers: Sequence[int]) -> pd.DataFrame:
    """Mean contribution of the edited layers' MLPs, a row a layer, with its standard error as interval."""
    state, token = SERIES[look]
    values = by_layer(decomposition, component="mlp", state=state, token=token)[list(layers)]
    mean, error = values.mean(), values.sem().fillna(0.0)
    return pd.DataFrame({"value": mean, "ci_low": mean - error, "ci_high": mean + error})


def _edited_layers(axes: Axes, decomposition: pd.DataFrame, layers: Sequence[int]) -> None:
    single, width = len(layers) == 1, 0.7 if len(layers) == 1 else 0.27
    for at, look in enumerate(SERIES):
        table = _of_edited(decomposition, look, layers)
        places = [float(at)] if single else np.arange(len(layers)) + (at - 1) * width
        style.bars(axes, places, table, look, width)
        if single:  # bars of several layers are too narrow for their numbers
            style.write_value(axes, places[0], max(table["ci_high"].iloc[0], 0.0), f"{table['value'].iloc[0]:.2f}")
    names = [label(*part).replace(", ", ",\n") for part in SERIES.values()] if single else layers
    axes.axhline(0, color="black", linewidth=0.4)
    axes.set_xticks(range(len(names)), names)
    axes.tick_params(axis="x", length=0)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.15 * (high - low))  # room for the numbers below the title
    title = f"MLP at the edited layer ({layers[0]})" if single else "MLPs of the edited layers"
    axes.set(title=title, ylabel="contribution (logits)", xlabel="" if single else "layer")


def _trace(axes: Axes, decomposition: pd.DataFrame, layers: Sequence[int]) -> None:
    for look, (state, token) in SERIES.items():
        values = by_layer(decomposition, state=state, token=token).cumsum(axis=1)
        style.line(axes, values, look, label(state, token))
    style.mark_layers(axes, layers)
    first, last = int(values.columns[0]), int(values.columns[-1])
    inner = MaxNLocator(5, integer=True).tick_values(0, last - 1)
    inner = [int(tick) for tick in inner if first + 0.1 * last < tick < 0.9 * last]
    axes.set_xticks([first, *inner, last], ["emb.", *map(str, inner), "logit"])
    axes.set(title="Cumulative logit", xlabel="layer", ylabel="sum so far (logits)")


def draw(subfigure: SubFigure, decomposition: pd.DataFrame, layers: Sequence[int]) -> None:
    """Draw from a `decomposition` table; `layers` are the edited ones."""
    axes = subfigure.subplots(2, 2)
    for panel, component, title in zip(axes[0], ("mlp", "attention"), ("MLP", "Attention"), strict=True):
        layer_panel(panel, decomposition, component, SERIES, layers)
        panel.set_title(title)
    _edited_layers(axes[1, 0], decomposition, layers)
    _trace(axes[1, 1], decomposition, layers)
    legend(subfigure, axes[0, 0], columns=4)
