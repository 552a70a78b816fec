"""What several figures draw in a panel: curves, bars and maps by seaborn in the looks of `style`, marks of layers, legends."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import QuadMesh
from matplotlib.figure import SubFigure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from onemask.figures import style
from onemask.io.errors import OnemaskError

STANDARD_ERROR = {"estimator": "mean", "errorbar": "se"}  # over the facts of a table by fact
# of a table that `with_interval` made: seaborn estimates nothing again
INTERVAL = {"estimator": lambda values: values.iloc[0], "errorbar": lambda values: (values.min(), values.max())}
SHARES = {"ylim": (-0.03, 1.05), "yticks": np.linspace(0, 1, 5)}
RIM = [withStroke(linewidth=1.5, foreground="white")]  # to be seen on dark ground


def with_interval(table: pd.DataFrame) -> pd.DataFrame:
    """Every row of columns value, ci_low and ci_high as three rows of `value`, from which seaborn draws mark and interval."""
    return pd.concat([table.assign(value=table[column]) for column in ("value", "ci_low", "ci_high")], ignore_index=True)


def _order(table: pd.DataFrame, hue: str) -> list[str]:
    """The looks of a table in the order of all figures; OnemaskError for one that has no look, lest it be left out unseen."""
    if unknown := sorted(set(table[hue]) - set(style.ORDER)):
        raise OnemaskError("values with a look", ", ".join(unknown), "Add it to LOOKS of figures/style.py.")
    return [name for name in style.ORDER if name in set(table[hue])]


def curves(
    axes: Axes,
    table: pd.DataFrame,
    x: str,
    y: str = "value",
    hue: str = "state",
    names: Mapping[str, str] = style.LABELS,
    joined: bool = True,
    **form: object,
) -> list[Line2D]:
    """A curve, or points, for each look in column `hue`: means over rows of equal x, or `value` with its interval.

    names: of the looks. joined: draw the line. form: of seaborn's lineplot, as markers=True. Means have their standard error.
    """
    order, before = _order(table, hue), len(axes.lines)
    looks = {"hue": hue, "style": hue, "hue_order": order, "style_order": order, "palette": style.PALETTE, "dashes": style.DASHES}
    form = {"markeredgewidth": 0.4} | form | ({"markers": style.MARKERS} if form.get("markers") else {})
    if y == "value" and "ci_low" in table:
        table, form = with_interval(table.sort_values(x, kind="stable")), INTERVAL | {"sort": False} | form
    thin = {"elinewidth": 0.6, "capsize": 1.2, "capthick": 0.6} if form.get("err_style") == "bars" else {"linewidth": 0}
    sns.lineplot(table, x=x, y=y, **looks, legend=False, err_kws=thin, ax=axes, **STANDARD_ERROR | form)
    drawn = [line for line in axes.lines[before:] if line.get_linestyle() != "None"]  # the others belong to whiskers
    for name, line in zip(order, drawn, strict=True):
        line.set_label(names[name])
        if not joined or name == "this_mask":
            line.set_linestyle("none")
        if style.FILLS[name] == "white":
            line.set(markerfacecolor="white", markeredgecolor=line.get_color(), markeredgewidth=0.7)
        if name == "shared":
            line.set_zorder(line.get_zorder() + 1)
        if name == "this_mask":
            line.set(markersize=8, markeredgecolor="black", markeredgewidth=0.5)
    axes.set(xlabel="", ylabel="")
    return drawn


def bars(
    axes: Axes,
    table: pd.DataFrame,
    x: str,
    at: Mapping,
    y: str = "value",
    hue: str = "state",
    names: Mapping[str, str] = style.LABELS,
    width: float = 0.84,
) -> None:
    """Bars at places `at` (by value of column `x`), side by side by `hue`; a diamond on the baseline says "exactly 0".

    Of y "value" the whiskers are its interval, else bars are means and whiskers standard errors over rows.
    """
    order, form = _order(table, hue), STANDARD_ERROR
    if y == "value":
        table, form = with_interval(table), INTERVAL
    table, thin = table.assign(at=table[x].map(at).astype(float)), {"color": "black", "linewidth": 0.6}
    looks = {"hue": hue, "hue_order": order, "palette": style.FILLS, "saturation": 1, "legend": False}
    caps = 0.008 * len(at) * (1 if x == hue else len(order))  # of the panel, however many bars it has
    sns.barplot(table, x="at", y=y, **looks, native_scale=True, width=width, capsize=caps, err_kws=thin, ax=axes, **form)
    for line in axes.lines:
        line.set_path_effects([withStroke(linewidth=1.1, foreground="white")])  # to be seen on dark bars
    for name, drawn in zip(order, axes.containers, strict=True):
        drawn.set_label(names[name])
        for bar in drawn:
            bar.set(edgecolor=style.PALETTE[name], hatch=style.HATCHES[name], linewidth=0.5)
        zeros = [bar.get_x() + bar.get_width() / 2 for bar in drawn if bar.get_height() == 0]
        if zeros:  # an empty unclipped artist would stretch the layout to the figure's corner
            axes.plot(zeros, [0] * len(zeros), "D", color=style.PALETTE[name], markersize=2.4, clip_on=False, zorder=5)
    axes.set(xlabel="", ylabel="")
    axes.tick_params(axis="x", length=0)


def write_value(axes: Axes, at: float, above: float, text: str) -> None:
    """A number in small print just above the height `above`."""
    text = text.replace("-", "\N{MINUS SIGN}")
    axes.annotate(text, (at, above), (0, 2), textcoords="offset points", ha="center", fontsize=style.SMALL)


def relation_places(measures: pd.DataFrame) -> dict[str, float]:
    """Places on x by relation: "all" first and set apart, then the relations by number."""
    names = sorted(set(measures["relation"]) - {"all"}, key=lambda name: (len(name), name))
    return {"all": 0.0} | {name: 1.4 + i for i, name in enumerate(names)}


def relation_bars(axes: Axes, measures: pd.DataFrame, names: Mapping[str, str] = style.LABELS) -> None:
    """Shares by relation, one bar a state."""
    places = relation_places(measures)
    bars(axes, measures, "relation", places, names=names)
    axes.axvline(0.7, color="black", linewidth=0.5, linestyle=":")
    axes.set(xlim=(-0.6, max(places.values()) + 0.6), ylim=(0, 1.05), yticks=SHARES["yticks"])
    axes.set_xticks(list(places.values()), list(places))


def heatmap(axes: Axes, table: pd.DataFrame, **form: object) -> QuadMesh:
    """seaborn's, of a table's rows and columns, without its own colour bar; cells lie from 0 to 1, from 1 to 2, and so on."""
    sns.heatmap(table, cbar=False, ax=axes, xticklabels=False, yticklabels=False, **form)
    return axes.collections[-1]


def number_cells(axis: Axis, values: Sequence[float], count: int) -> None:
    """Ticks at about `count` round numbers among the rising values (layers, dimensions) that the cells of a map stand for."""
    ticks = [int(tick) for tick in MaxNLocator(count, integer=True).tick_values(values[0], values[-1])]
    shown = [tick for tick in ticks if values[0] <= tick <= values[-1]]
    axis.set_ticks(np.searchsorted(values, shown) + 0.5, shown)


def layer_map(axes: Axes, table: pd.DataFrame, layers: Sequence[int], columns: int, **form: object) -> QuadMesh:
    """A map of a table with layers down, drawn upwards; a dashed line along the edited layer, or at the bounds of several."""
    image = heatmap(axes, table, rasterized=True, **form)
    axes.invert_yaxis()
    number_cells(axes.yaxis, table.index, 6)
    number_cells(axes.xaxis, table.columns, columns)
    axes.spines[:].set_visible(True)
    axes.set(xlabel="", ylabel="")
    single = len(layers) == 1
    look = {"color": "black", "linewidth": 0.8, "linestyle": (0, (4, 3)), "path_effects": RIM}
    first = table.index.get_loc(layers[0])
    for i, place in enumerate([first + 0.5] if single else [first, first + layers[-1] - layers[0] + 1]):
        axes.axhline(place, **look, label="_" * i + _name(layers))
    return image


def _name(layers: Sequence[int]) -> str:
    one = len(layers) == 1
    return f"edited layer ({layers[0]})" if one else f"edited layers ({layers[0]}\N{EN DASH}{layers[-1]})"


def mark_layers(axes: Axes, layers: Sequence[int]) -> None:
    """A thin dashed line at the edited layer, or a grey band over the edited layers, of a panel with layers on x."""
    if len(layers) == 1:
        axes.axvline(layers[0], color="black", linewidth=0.6, linestyle="--", zorder=0, label=_name(layers))
    else:
        axes.axvspan(layers[0] - 0.5, layers[-1] + 0.5, color="#e4e4e4", linewidth=0, zorder=0, label=_name(layers))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def at_pruned_share(measures: pd.DataFrame, **where: object) -> pd.DataFrame:
    """The masks' rows that `where` chooses, with column `look`, and `pruned`: the share of the weights that the mask prunes.

    OnemaskError where a mask's pruned share is not in `measures`.
    """
    key = ["state", "parametrisation", "share"]
    table = style.rows(measures, **where)
    filled, trained = table["state"].isin(["zeroed", "restored"]), table["share"].notna()
    look = table["state"].replace({"shared": "this_mask"}).mask((table["state"] == "shared") & trained, table["parametrisation"])
    table = table.assign(look=look.mask(filled, table["parametrisation"] + ", " + table["state"]))
    pruned = style.rows(measures, metric="pruned", relation="all").drop_duplicates(key).rename(columns={"value": "pruned"})
    table = table.merge(pruned[[*key, "pruned"]], on=key, how="left")
    if lacking := sorted(table.loc[table["pruned"].isna(), "look"].unique()):
        raise OnemaskError("the pruned share of every mask", f"none of {lacking}", "Mend the table given to the figure.")
    return table.drop_duplicates(["look", "share"])  # random masks of equal share are one mask, whatever it is a control of


def reference(axes: Axes, table: pd.DataFrame, state: str) -> None:
    """A line across the panel at the value of a state that no mask's share or size changes, if the table has it."""
    for value in table.loc[table["state"] == state, "value"]:
        look = {"color": style.PALETTE[state], "linestyle": (0, style.DASHES[state] or (1, 0)), "label": style.LABELS[state]}
        axes.axhline(value, linewidth=0.9, zorder=1, **look)


def legend(subfigure: SubFigure, axes: Axes, columns: int, zero: bool = False) -> None:
    """The legend of `axes` below all panels; `zero` adds the diamond that stands for a bar of height 0."""
    handles, names = axes.get_legend_handles_labels()
    if zero:
        handles.append(Line2D([], [], color="black", marker="D", markersize=2.4, linestyle="none"))
        names.append("exactly 0")
    subfigure.legend(handles, names, loc="outside lower center", ncols=columns)
