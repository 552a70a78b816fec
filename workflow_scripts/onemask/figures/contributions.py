"""What MLP and attention layers add to the logits: the panels of figures 3 and 4, and of 9 and 10 for joint edits."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.ticker import MaxNLocator

from onemask.figures import panels, style
from onemask.measuring.schemas import DECOMPOSITION

TABLES = {"decomposition": DECOMPOSITION}
# look -> the state, whose logit it is, and both in words
SERIES = {
    "original": ("original", "true", "original fact, original model"),
    "edited": ("edited", "new", "edited fact, edited model"),
    "edited_true": ("edited", "true", "original fact, edited model"),
    "shared": ("shared", "true", "original fact, pruned model"),
}
NAMES = {look: name for look, (_, _, name) in SERIES.items()}
LOOKS = ("original", "edited", "edited_true")  # both facts, before any mask
COMPONENTS = {"mlp": "MLP", "attention": "Attention"}


def _series(decomposition: pd.DataFrame, looks: Sequence[str], **where: str) -> pd.DataFrame:
    """Exact contributions in logits by series, fact and layer, summed over the components that `where` chooses."""
    parts = [
        style.rows(decomposition, state=state, token=token, **where).assign(series=look)
        for look in looks
        for state, token, _ in [SERIES[look]]
    ]
    return pd.concat(parts).groupby(["series", "case_id", "layer"], as_index=False)["exact"].sum()


def _by_layer(axes: Axes, table: pd.DataFrame, layers: Sequence[int], y: str, title: str) -> None:
    panels.curves(axes, table, "layer", "exact", "series", NAMES)
    panels.mark_layers(axes, layers)
    axes.set(title=title, xlabel="layer", ylabel=y)


def by_component(axes: Sequence[Axes], decomposition: pd.DataFrame, looks: Sequence[str], layers: Sequence[int]) -> None:
    """Contribution by layer: MLP in the first panel, attention in the second."""
    for panel, (component, title) in zip(axes, COMPONENTS.items(), strict=True):
        _by_layer(panel, _series(decomposition, looks, component=component), layers, "contribution (logits)", title)
        panel.axhline(0, color="black", linewidth=0.4, zorder=0)


def _edited_layers(axes: Axes, table: pd.DataFrame, layers: Sequence[int]) -> None:
    table, single = table[table["layer"].isin(layers)], len(layers) == 1
    names = {look: NAMES[look].replace(", ", ",\n") for look in LOOKS} if single else {layer: layer for layer in layers}
    places = {name: float(i) for i, name in enumerate(names)}
    panels.bars(axes, table, "series" if single else "layer", places, "exact", "series", NAMES, 0.7 if single else 0.81)
    axes.axhline(0, color="black", linewidth=0.4)
    axes.set_xticks(range(len(names)), list(names.values()))
    if single:  # bars of several layers are too narrow for their numbers
        for look, values in table.groupby("series")["exact"]:
            top = max(values.mean() + (values.sem() if len(values) > 1 else 0), 0)
            panels.write_value(axes, places[look], top, f"{values.mean():.2f}")
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.15 * (high - low))  # room for the numbers below the title
    title = f"MLP at the edited layer ({layers[0]})" if single else "MLPs of the edited layers"
    axes.set(title=title, ylabel="contribution (logits)", xlabel="" if single else "layer")


def _trace(axes: Axes, table: pd.DataFrame, layers: Sequence[int]) -> None:
    table = table.assign(exact=table.groupby(["series", "case_id"])["exact"].cumsum())
    _by_layer(axes, table, layers, "sum so far (logits)", "Cumulative logit")
    first, last = int(table["layer"].min()), int(table["layer"].max())
    inner = MaxNLocator(5, integer=True).tick_values(0, last - 1)
    inner = [int(tick) for tick in inner if first + 0.1 * last < tick < 0.9 * last]
    axes.set_xticks([first, *inner, last], ["emb.", *map(str, inner), "logit"])


def draw_both_facts(subfigure: SubFigure, decomposition: pd.DataFrame, layers: Sequence[int]) -> None:
    """Both facts' logits in the original and the edited model: by layer, at the edited ones, and as they grow."""
    axes = subfigure.subplots(2, 2)
    by_component(axes[0], decomposition, LOOKS, layers)
    _edited_layers(axes[1, 0], _series(decomposition, LOOKS, component="mlp"), layers)
    _trace(axes[1, 1], _series(decomposition, LOOKS), layers)
    panels.legend(subfigure, axes[0, 0], columns=4)


def draw_pruned(subfigure: SubFigure, decomposition: pd.DataFrame, layers: Sequence[int]) -> None:
    """The answer's logit in the original, the edited and the pruned model, by layer."""
    axes = subfigure.subplots(1, 2)
    by_component(axes, decomposition, ("original", "edited", "shared"), layers)
    panels.legend(subfigure, axes[0], columns=4)
