"""Every figure draws from small tables, says what its axes are, shows the table's values, and saves the same bytes."""

import ast
from pathlib import Path

import matplotlib
import matplotlib.pyplot
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import FillBetweenPolyCollection

from onemask import figures
from onemask.figures import (
    compose,
    contributions,
    figure03,
    figure04,
    figure06,
    figure07,
    figure08,
    figure09,
    figure10,
    figure11,
    figure12,
    mask_training,
    panels,
    reversal,
    style,
)
from onemask.io.errors import OnemaskError
from onemask.masking.schemas import MASK_STRUCTURE, MASK_TRAINING
from onemask.measuring.schemas import DECOMPOSITION, REVERSAL
from onemask.summaries.schemas import MEASURES

LAYERS, LAYER, FACTS = 6, 2, 5
RELATIONS = ("all", "P1412", "P17", "P103")


def decomposition() -> pd.DataFrame:
    """Three states, two tokens, `LAYERS` layers, embedding and norm bias."""
    draws = np.random.default_rng(0)
    places = [(-1, "embedding"), (LAYERS, "norm_bias")]
    places += [(layer, component) for layer in range(LAYERS) for component in ("attention", "mlp")]
    index = [
        (case, state, token, layer, component)
        for case in range(FACTS)
        for state in ("original", "edited", "shared")
        for token in ("true", "new")
        for layer, component in places
    ]
    table = pd.DataFrame(index, columns=["case_id", "state", "token", "layer", "component"])
    return table.assign(exact=draws.normal(size=len(table)), unfolded=np.nan)


def filled(table: pd.DataFrame) -> pd.DataFrame:
    """A `measures` table: the columns that are lacking hold what a row says that has no such thing."""
    nothing = {"layer": np.nan, "parametrisation": "", "share": np.nan, "training_edits": np.nan, "trained_on": "", "item": ""}
    other = nothing | {"model": "m", "method": "rome", "split": "test", "seed": 0, "relation": "all", "n": 40}
    return table.assign(**{column: value for column, value in other.items() if column not in table})[MEASURES.names]


def measures(metric: str, states: dict[str, float], relations: tuple[str, ...] = RELATIONS) -> pd.DataFrame:
    """A value near the state's own for each relation, exactly 0 staying 0."""
    table = pd.DataFrame(
        [
            {"state": state, "relation": relation, "value": value * (1 - 0.1 * i)}
            for state, value in states.items()
            for i, relation in enumerate(relations)
        ]
    )
    interval = {"ci_low": 0.9 * table["value"], "ci_high": 1.1 * table["value"] + 0.02}
    return filled(table.assign(metric=metric, **interval))


def blocking() -> pd.DataFrame:
    states = {"edited": 0.9, "masked": 0.3, "masked_weights": 0.7, "masked_after": 0.0}
    return pd.concat([measures(metric, states) for metric in ("success", "token_accuracy")])


def reversed_edits() -> pd.DataFrame:
    states = {"edited": 0.0, "shared": 0.8, "random": 0.1, "layer_zeroed": 0.6}
    return pd.concat([measures("rsr", states | {"original": 1.0}), measures("top1", states)])


def perplexity(edited: float) -> pd.DataFrame:
    states = {"original": 20.0, "edited": edited, "shared": 25.0, "random": 40.0, "layer_zeroed": 60.0}
    return measures("perplexity", states, ("all",))


def kl() -> pd.DataFrame:
    states = {"edited": [1.0, 2.0, 4.0], "shared": [0.0, 0.1, 0.2], "random": [1.0, 1.5, 3.0]}
    table = pd.DataFrame([(state, value) for state, values in states.items() for value in values])
    table.columns = ["state", "kl"]
    return table.reindex(columns=REVERSAL.names)


def keep() -> np.ndarray:
    return np.random.default_rng(0).random((24, 64)) > np.linspace(0, 0.5, 24)[:, None]


def structure() -> pd.DataFrame:
    return pd.DataFrame({"dimension": np.arange(24), "pruned": 1 - keep().mean(axis=1), "keep": list(keep())})


def training() -> pd.DataFrame:
    names = MASK_TRAINING.names
    return pd.DataFrame({name: np.linspace(1, 0, 4) for name in names}).assign(epoch=range(4))


FIGURES = {
    "figure03": (figure03, {"decomposition": decomposition(), "layers": [LAYER]}),
    "figure04": (figure04, {"decomposition": decomposition(), "layers": [LAYER]}),
    "figure06": (figure06, {"blocking": blocking()}),
    "figure07": (figure07, {"reversal": reversed_edits(), "perplexity": perplexity(45.0), "kl": kl()}),
    "figure08": (figure08, {"reversal": reversed_edits(), "perplexity": perplexity(45.0), "kl": kl()}),
    "figure09": (figure09, {"decomposition": decomposition(), "layers": [LAYER - 1, LAYER]}),
    "figure10": (figure10, {"decomposition": decomposition(), "layers": [LAYER - 1, LAYER]}),
    "figure11": (figure11, {"structure": structure()}),
    "figure12": (figure12, {"structure": structure()}),
    "mask_training": (mask_training, {"training": training()}),
}


def axes_of(module, **tables) -> list:
    """All axes of the figure of one model."""
    return compose.compose(module.draw, {"model": tables}, module.SIZE).axes


def heights(axes, label: str) -> list[float]:
    """Heights of the bars with this label, from left to right."""
    return [bar.get_height() for bars in axes.containers if bars.get_label() == label for bar in bars]


def whisker(axes, x: float) -> list[tuple[float, float]]:
    """Low and high end of every whisker of bars that passes x."""
    lines = [line for line in axes.lines if line.get_path_effects()]
    parts = [line.get_ydata() for line in lines if np.nanmin(line.get_xdata()) < x < np.nanmax(line.get_xdata())]
    return [(np.nanmin(part), np.nanmax(part)) for part in parts]


def curve(axes, label: str) -> np.ndarray:
    """y of the line with this label."""
    return next(line.get_ydata() for line in axes.lines if line.get_label() == label)


def band(axes, label: str) -> np.ndarray:
    """Lower and upper edge of the band about the line with this label, from left to right, (places, 2)."""
    colour = matplotlib.colors.to_rgb(next(line.get_color() for line in axes.lines if line.get_label() == label))
    bands = [part for part in axes.collections if isinstance(part, FillBetweenPolyCollection)]
    (found,) = [part for part in bands if part.get_facecolor()[0, :3] == pytest.approx(colour)]
    corners = pd.DataFrame(found.get_paths()[0].vertices, columns=["x", "y"])
    return corners.groupby("x")["y"].agg(["min", "max"]).to_numpy()


def test_builders_keep_to_the_schemas():
    for schema, table in ((DECOMPOSITION, decomposition()), (MEASURES, blocking()), (MASK_STRUCTURE, structure())):
        assert set(table.columns) == set(schema.names)


@pytest.mark.parametrize("name", FIGURES)
def test_same_bytes_twice_and_labelled_axes(name, tmp_path):
    module, tables = FIGURES[name]
    for turn in "ab":
        figure = compose.compose(module.draw, {"model": tables}, module.SIZE)
        for suffix in (".png", ".pdf"):
            compose.save(figure, tmp_path / f"{turn}{suffix}")
    for suffix, magic in ((".png", b"\x89PNG"), (".pdf", b"%PDF")):
        content = (tmp_path / f"a{suffix}").read_bytes()
        assert content.startswith(magic) and content == (tmp_path / f"b{suffix}").read_bytes()
    assert b"/Type3" not in (tmp_path / "a.pdf").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", "a.pdf", "b.png", "b.pdf"}
    for axes in figure.axes:
        assert axes.get_ylabel() or any(other.get_ylabel() for other in axes.get_shared_y_axes().get_siblings(axes))
        below = [other.get_xlabel() for other in axes.get_shared_x_axes().get_siblings(axes)]
        assert any(below) or any(tick.get_text() for tick in axes.get_xticklabels())


def test_figure03_trace_ends_at_the_logit():
    table = decomposition()
    mlp, attention, edited_layer, trace = axes_of(figure03, decomposition=table, layers=[LAYER])
    for look in ("original", "edited", "edited_true"):
        state, token, label = contributions.SERIES[look]
        chosen = table[(table["state"] == state) & (table["token"] == token)]
        logit = chosen.groupby("case_id")["exact"].sum().mean()
        assert curve(trace, label)[-1] == pytest.approx(logit)
        assert len(curve(trace, label)) == LAYERS + 2
        for panel, component in ((mlp, "mlp"), (attention, "attention")):
            part = chosen[chosen["component"] == component].groupby("layer")["exact"].mean()
            np.testing.assert_allclose(curve(panel, label), part)
            error = chosen[chosen["component"] == component].groupby("layer")["exact"].sem()
            np.testing.assert_allclose(band(panel, label), np.stack([part - error, part + error], axis=1))
        assert heights(edited_layer, label) == pytest.approx([curve(mlp, label)[LAYER]])


def test_figure09_shows_every_edited_layer_and_a_band_over_them():
    table, layers = decomposition(), [LAYER - 1, LAYER]
    mlp, _, edited_layers, _ = axes_of(figure09, decomposition=table, layers=layers)
    for label in (contributions.NAMES[look] for look in ("original", "edited", "edited_true")):
        assert heights(edited_layers, label) == pytest.approx([curve(mlp, label)[layer] for layer in layers])
    (band,) = [patch for patch in mlp.patches if patch.get_label().startswith("edited layers")]
    assert (band.get_x(), band.get_x() + band.get_width()) == (layers[0] - 0.5, layers[1] + 0.5)


def test_figure04_draws_the_pruned_model_and_marks_the_layer():
    table = decomposition()
    _, attention = axes_of(figure04, decomposition=table, layers=[LAYER])
    chosen = table.query("state == 'shared' and token == 'true' and component == 'attention'")
    drawn = curve(attention, contributions.NAMES["shared"])
    np.testing.assert_allclose(drawn, chosen.groupby("layer")["exact"].mean())
    assert set(curve(attention, f"edited layer ({LAYER})")) == {0, 1}
    with pytest.raises(OnemaskError, match="shared"):
        axes_of(figure04, decomposition=table[table["state"] != "shared"], layers=[LAYER])


def test_figure06_heights_are_the_tables_values():
    table = blocking()
    order = ["all", "P17", "P103", "P1412"]
    assert list(panels.relation_places(table)) == order
    for axes, metric in zip(axes_of(figure06, blocking=table), figure06.METRICS, strict=True):
        for state, label in zip(figure06.STATES, axes.get_legend_handles_labels()[1], strict=True):
            values = table[(table["metric"] == metric) & (table["state"] == state)].set_index("relation").loc[order]
            assert label == ("no mask" if state == "edited" else style.LABELS[state])
            assert heights(axes, label) == pytest.approx(list(values["value"]))
            (bars,) = [bars for bars in axes.containers if bars.get_label() == label]
            for bar, row in zip(bars, values.itertuples(), strict=True):
                assert (row.ci_low, row.ci_high) in whisker(axes, bar.get_x() + bar.get_width() / 2)
        zeros = [line for line in axes.lines if line.get_marker() == "D"]
        assert [len(line.get_xdata()) for line in zeros] == [len(order)]
    with pytest.raises(OnemaskError, match="masked_after"):
        axes_of(figure06, blocking=table[table["state"] != "masked_after"])


def test_a_value_outside_its_interval_is_drawn_as_it_is():
    table = blocking().assign(value=0.97)
    success, _ = axes_of(figure06, blocking=table)
    assert heights(success, "no mask") == pytest.approx([0.97] * 4)
    assert whisker(success, success.containers[0][0].get_center()[0]) == [(0.81, 1.01)]
    above = axes_of(figure06, blocking=table.assign(ci_low=0.1, ci_high=0.2))[0]
    assert heights(above, "no mask") == pytest.approx([0.97] * 4)


def test_what_has_no_look_is_refused():
    table = blocking().assign(state="another")
    with pytest.raises(OnemaskError, match="values with a look; found another"):
        panels.curves(None, table, "relation")


@pytest.mark.parametrize(("edited", "scale"), [(45.0, "linear"), (4500.0, "log")])
def test_figure07_shows_shares_perplexity_and_all_of_kl(edited, scale):
    table = reversed_edits()
    tables = {"reversal": table, "perplexity": perplexity(edited), "kl": kl()}
    rsr, top1, ppl, divergence = axes_of(figure07, **tables)
    for axes, metric in ((rsr, "rsr"), (top1, "top1")):
        chosen = table[(table["metric"] == metric) & (table["state"] == "shared")].set_index("relation")["value"]
        assert heights(axes, style.LABELS["shared"]) == pytest.approx(list(chosen[["all", "P17", "P103", "P1412"]]))
    assert ppl.get_yscale() == scale
    assert [heights(ppl, style.LABELS[state])[0] for state in ("original", "edited")] == [20.0, edited]
    low, high = divergence.get_xlim()
    assert low <= reversal.KL_FLOOR and high >= 4.0
    for state, drawn in zip(reversal.STATES, divergence.collections, strict=True):
        assert drawn.get_edgecolor()[0, :3] == pytest.approx(matplotlib.colors.to_rgb(style.PALETTE[state]))
    with pytest.raises(OnemaskError, match="random"):
        axes_of(figure07, **tables | {"kl": kl().query("state != 'random'")})


def test_figure11_shows_every_weight_black_where_kept():
    mask = keep()
    image, margin = axes_of(figure11, structure=structure())
    shown = image.images[0]
    np.testing.assert_array_equal(shown.get_array(), mask)
    assert shown.get_interpolation() == "none"
    assert shown.to_rgba(np.array([False, True]))[:, 0].tolist() == [1.0, 0.0]
    assert f"{1 - mask.mean():.2%}" in image.get_title()
    np.testing.assert_allclose(margin.lines[0].get_xdata(), 1 - mask.mean(axis=1))


def test_figure12_is_sorted_and_names_the_top_dimensions():
    table = structure()
    (axes,) = axes_of(figure12, structure=table)
    np.testing.assert_array_equal(axes.collections[0].get_offsets()[:, 1], np.sort(table["pruned"]))
    assert {int(text.get_text()) for text in axes.texts} == set(table.nlargest(5, "pruned")["dimension"])
    places = sorted(text.xyann[1] for text in axes.texts)
    assert min(np.diff(places)) >= 0.079 * np.diff(axes.get_ylim())[0]


def test_mask_training_draws_each_column():
    table = training().assign(pruned=[0.0, 0.02, 0.05, 0.07])
    losses, shares = axes_of(mask_training, training=table)
    assert len(losses.lines) == len(mask_training.LOSSES)
    np.testing.assert_array_equal(curve(shares, "pruned share (0.07)"), table["pruned"])


def test_one_titled_row_a_model():
    module, tables = FIGURES["figure12"]
    one = compose.compose(module.draw, {"A": tables}, module.SIZE)
    two = compose.compose(module.draw, {"A": tables, "B": tables}, module.SIZE)
    assert [row.get_suptitle() for row in one.subfigs] == [""]
    assert [row.get_suptitle() for row in two.subfigs] == ["A", "B"]
    assert two.get_figheight() == pytest.approx(2 * (module.SIZE[1] + compose.TITLE))


def test_a_figures_own_size_and_style_are_over_ours():
    module, tables = FIGURES["figure06"]
    figure = compose.compose(module.draw, {"A": tables}, (4.0, 5.0), {"axes.labelsize": 12})
    assert figure.axes[-1].xaxis.label.get_fontsize() == 12 and tuple(figure.get_size_inches()) == (4.0, 5.0)
    assert axes_of(module, **tables)[-1].xaxis.label.get_fontsize() == style.NORMAL
    for wrong in ({"font.sise": 12}, {"font.size": "huge!"}):
        with pytest.raises(OnemaskError, match="matplotlib's rcParams; found"):
            compose.compose(module.draw, {"A": tables}, module.SIZE, wrong)


def test_another_suffix_is_refused_and_nothing_is_left(tmp_path):
    module, tables = FIGURES["figure12"]
    with pytest.raises(OnemaskError, match="pdf"):
        compose.save(compose.compose(module.draw, {"A": tables}, module.SIZE), tmp_path / "a.svg")
    assert not list(tmp_path.iterdir())


def test_drawing_leaves_nothing_behind():
    before = dict(matplotlib.rcParams)
    for name in ("figure06", "figure07", "figure12"):
        module, tables = FIGURES[name]
        axes_of(module, **tables)
    assert dict(matplotlib.rcParams) == before and not matplotlib.pyplot.get_fignums()


def test_no_figure_imports_another():
    modules = {path.stem: path.read_text() for path in Path(figures.__file__).parent.glob("*.py")}
    of_figures = {name for name, text in modules.items() if "draw(" in text or "as draw" in text} - {"compose"}
    assert {"figure07", "figure14", "transfer"} <= of_figures and not {"style", "panels"} & of_figures
    for name in of_figures:
        nodes = [node for node in ast.walk(ast.parse(modules[name])) if isinstance(node, ast.ImportFrom)]
        imported = {part for node in nodes for part in [*node.module.split("."), *(alias.name for alias in node.names)]}
        assert not imported & of_figures, name
