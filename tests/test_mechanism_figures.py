"""The figures that look into the model and at pruning show their tables' values, mark what they name, and save the same bytes."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import QuadMesh

from onemask.figures import attention, compose, figure05, figure13, figure14, patching, style
from onemask.io.errors import OnemaskError
from onemask.masking.schemas import MASK_STRUCTURE
from onemask.measuring.schemas import ACTIVATIONS, ATTENTION, PATCHING
from onemask.summaries.schemas import MEASURES
from test_figures import axes_of, band, curve, filled

LAYERS, LAYER, DIMENSIONS, HEADS, FACTS = 6, 2, 24, 4, 7
STATES, OUTLIER = ("original", "edited", "shared"), 17
PRUNED, SPLIT = (1.0, 0.02, 0.3, 0.1), "joint_test"
OWN = [("shared", "", np.nan), ("random", "", np.nan)]  # the run's mask and its random control


def activations(dimensions: int = DIMENSIONS) -> pd.DataFrame:
    """A stream that grows, one dimension far above the rest; the edit moves all layers from the edited one on, the mask less."""
    draws = np.random.default_rng(0)
    base = draws.normal(size=(LAYERS + 1, dimensions)).cumsum(0)
    base[:, OUTLIER] += 300
    moved = draws.normal(size=base.shape) * (np.arange(-1, LAYERS) >= LAYER)[:, None]
    layers, places = (grid.ravel() for grid in np.indices(base.shape))
    tables = [
        pd.DataFrame({"state": state, "layer": layers - 1, "dimension": places, "mean": (base + share * moved).ravel()})
        for state, share in zip(STATES, (0, 1, 0.1), strict=True)
    ]
    table = pd.concat(tables, ignore_index=True)
    return table.assign(sem=draws.uniform(0.1, 0.2, len(table)), mean_abs=table["mean"].abs() + 0.3, facts=FACTS)


def structure() -> pd.DataFrame:
    draws = np.random.default_rng(1)
    table = pd.DataFrame({"dimension": np.arange(DIMENSIONS), "pruned": draws.beta(0.5, 5, DIMENSIONS)})
    return table.assign(keep=list(draws.random((DIMENSIONS, 8)) > 0.1))


def attended() -> pd.DataFrame:
    """Weights alike up to the edited layer; behind it heads 3.1, 5.0 and 4.2 gain by the edit, and 4.3 loses by the mask."""
    index = pd.MultiIndex.from_product([range(FACTS), range(LAYERS), range(HEADS)], names=["case_id", "layer", "head"])
    weight = pd.Series(np.random.default_rng(2).uniform(0.3, 0.5, len(index)), index)
    gains = {"original": {}, "edited": {(3, 1): 0.3, (5, 0): 0.2, (4, 2): 0.15, (4, 1): 0.01}, "shared": {(4, 3): -0.25}}
    tables = []
    for state, heads in gains.items():
        table = weight.reset_index(name="weight")
        places = pd.MultiIndex.from_frame(table[["layer", "head"]])
        tables.append(table.assign(state=state, weight=table["weight"] + [heads.get(place, 0.0) for place in places]))
    return pd.concat(tables, ignore_index=True).assign(relation_id="P17")


def patched() -> pd.DataFrame:
    """Facts return under attention up to layer 4, under both up to the last, never under the MLP; Top-1 of a fact fewer."""
    ends = {"attention": 5, "mlp": 0, "both": LAYERS}
    index = [(case, component, layer) for case in range(FACTS) for component in ends for layer in range(LAYER + 1, LAYERS + 1)]
    table = pd.DataFrame(index, columns=["case_id", "component", "first_layer"])
    returned = (table["first_layer"] < table["component"].map(ends)) & (table["case_id"] > 0)
    columns = {"logp_true_first": np.where(returned, -1.0, -3.0), "top1": returned & (table["case_id"] > 1)}
    return table.assign(relation_id="P17", logp_new_first=-2.0, **columns)


def measures(*rows: tuple) -> pd.DataFrame:
    """Rows (state, parametrisation, share, metric, split, relation); every value its own, lest a row stand for another.

    "pruned" has no interval.
    """
    table = pd.DataFrame(rows, columns=["state", "parametrisation", "share", "metric", "split", "relation"])
    value = np.random.default_rng(len(rows)).permutation(np.linspace(0.05, 0.95, len(table)))
    interval = {
        side: np.where(table["metric"] == "pruned", np.nan, value + way) for side, way in (("ci_low", -0.04), ("ci_high", 0.03))
    }
    return filled(table.assign(value=value, **interval))


def pruning() -> pd.DataFrame:
    """Beside the rows drawn: another metric, another relation, and what each mask prunes."""
    masks = [(state, kind, share) for kind in style.CRITERIA for state in figure14.TITLES for share in PRUNED]
    kinds = (("rsr", SPLIT, "all"), ("rsr", SPLIT, "P17"), ("top1", SPLIT, "all"), ("pruned", "all", "all"))
    return measures(*[(*mask, *kind) for mask in masks for kind in kinds])


def trained(*masks: tuple) -> pd.DataFrame:
    """Beside the rows drawn: other splits, another relation, and a mask that is not drawn."""
    kinds = (("rsr", "train", "all"), ("rsr", SPLIT, "P17"), ("rsr", SPLIT, "all"), ("pruned", "all", "all"))
    return measures(*[(*mask, *kind) for mask in (*masks, ("layer_zeroed", "", np.nan)) for kind in kinds])


def studies() -> pd.DataFrame:
    sigmoid, topk = [("shared", "sigmoid", share) for share in (0.05, 0.2)], ("shared", "topk", 0.1)
    return trained(*sigmoid, topk, ("random", "sigmoid", 0.05), *OWN[:1])


FIGURES = {
    "figure05": (figure05, {"activations": activations(), "layers": [LAYER]}),
    "figure13": (figure13, {"activations": activations(), "structure": structure(), "layers": [LAYER]}),
    "figure14": (figure14, {"pruning": pruning(), "reversal": trained(*OWN), "studies": studies()}),
    "attention": (attention, {"attention": attended(), "layers": [LAYER]}),
    "patching": (patching, {"patching": patched(), "layers": [LAYER]}),
}


def drawn(name: str, **changed) -> list:
    """All axes of a figure, some of its tables changed."""
    module, tables = FIGURES[name]
    return axes_of(module, **tables | changed)


def without(table: pd.DataFrame, **where: str) -> pd.DataFrame:
    ((column, value),) = where.items()
    return table[table[column] != value]


def whisker(axes, x: float) -> list[list[float]]:
    """Low and high end of every whisker at x."""
    parts = [part for part in axes.collections if hasattr(part, "get_segments")]
    ends = [segment for part in parts for segment in part.get_segments()]
    return [list(segment[:, 1]) for segment in ends if len(segment) and segment[0, 0] == pytest.approx(x)]


def is_map(axes) -> bool:
    """Is it a heat map, whose cell of layer 3 lies from 3 to 4?"""
    return axes.get_label() != "<colorbar>" and any(isinstance(part, QuadMesh) for part in axes.collections)


def numbered(axes) -> bool:
    return any(axes.yaxis.get_tick_params()[side] for side in ("labelleft", "labelright"))


def test_builders_keep_to_the_schemas():
    tables = [(ACTIVATIONS, activations()), (MASK_STRUCTURE, structure()), (ATTENTION, attended()), (PATCHING, patched())]
    for schema, table in [*tables, (MEASURES, pruning())]:
        assert set(table.columns) == set(schema.names)


@pytest.mark.parametrize("name", FIGURES)
def test_same_bytes_twice_and_labelled_axes(name, tmp_path):
    module, tables = FIGURES[name]
    assert module.SIZE[0] in (style.COLUMN, style.TEXT)
    for turn in "ab":
        figure = compose.compose(module.draw, {"model": tables}, module.SIZE)
        for suffix in (".png", ".pdf"):
            compose.save(figure, tmp_path / f"{turn}{suffix}")
    for suffix in (".png", ".pdf"):
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
    panels = [axes for axes in figure.axes if axes.axison and axes.get_label() != "<colorbar>"]
    named = {axes.get_subplotspec().rowspan.start for axes in panels if axes.get_ylabel()}  # rows of panels
    columns = {axes.get_subplotspec().colspan.start for axes in panels if axes.get_xlabel()}
    for axes in panels:
        assert not numbered(axes) or axes.get_subplotspec().rowspan.start in named
        assert axes.get_subplotspec().colspan.start in columns
    bars = [bar for axes in figure.axes for bar in [*axes.child_axes, *[axes] * (axes.get_label() == "<colorbar>")]]
    assert all(bar.get_xlabel() or bar.get_ylabel() for bar in bars) and bool(bars) == (name in ("figure05", "attention"))


@pytest.mark.parametrize("name", FIGURES)
def test_a_table_that_lacks_a_state_is_refused(name):
    lacking = {
        "figure05": {"activations": without(activations(), state="shared")},
        "figure13": {"activations": without(activations(), state="edited")},
        "figure14": {"reversal": trained(OWN[0])},
        "attention": {"attention": without(attended(), state="original")},
        "patching": {"patching": without(patched(), component="both")},
    }
    named = {"figure05": "shared", "figure13": "edited", "figure14": "random", "attention": "original", "patching": "both"}
    with pytest.raises(OnemaskError, match=named[name]):
        drawn(name, **lacking[name])


@pytest.mark.parametrize("name", [name for name in FIGURES if name != "figure14"])
def test_the_mark_moves_with_the_edited_layer(name):
    for layer in (LAYER, LAYER + 1):
        for axes in drawn(name, layers=[layer]):
            along = is_map(axes)
            marks = [line for line in axes.lines if str(line.get_label()).startswith("edited layer")]
            if axes.axison and axes.get_label() != "<colorbar>":
                assert [line.get_label() for line in marks] == [f"edited layer ({layer})"]
                assert set(marks[0].get_ydata() if along else marks[0].get_xdata()) == {layer + 0.5 * along}


def test_several_edited_layers_are_bounded_on_maps():
    layers = [LAYER, LAYER + 1, LAYER + 2]
    maps = [axes for axes in drawn("figure05", layers=layers) if is_map(axes)]
    assert len(maps) == 5
    for axes in maps:
        assert sorted(line.get_ydata()[0] for line in axes.lines) == [LAYER, LAYER + 3]
        assert axes.get_legend_handles_labels()[1] == [f"edited layers ({LAYER}–{LAYER + 2})"]


def test_figure05_maps_are_the_table_without_the_embedding_on_one_scale_a_row():
    table = activations()
    wide = table[table["layer"] >= 0].pivot(index="layer", columns=["state", "dimension"])
    panels = [axes for axes in drawn("figure05") if is_map(axes)]
    names = [style.LABELS[state] for state in STATES]
    assert [axes.get_title() for axes in panels] == [*names, *(f"{name} − original" for name in names[1:])]
    top, bottom = panels[:3], panels[3:]
    for axes, state in zip(top, STATES, strict=True):
        np.testing.assert_array_equal(axes.collections[0].get_array(), wide["mean_abs"][state])
    for axes, state in zip(bottom, STATES[1:], strict=True):
        shown = axes.collections[0].get_array()
        np.testing.assert_allclose(shown.filled(0), (wide["mean"][state] - wide["mean"]["original"]).abs())
        assert shown.mask[:LAYER].all() and not shown.mask[LAYER:].any()
    for row in (top, bottom):
        assert len({axes.collections[0].get_clim() for axes in row}) == 1
        low, high = row[0].collections[0].get_clim()
        values = np.concatenate([axes.collections[0].get_array().compressed() for axes in row])
        assert high == values.max() and np.mean(values < low) == pytest.approx(0.05, abs=0.01)


def test_figure05_loses_no_outlier_where_dimensions_outnumber_the_cells():
    many = 2 * figure05.CELLS + 5
    table = activations(many)
    axes = drawn("figure05", activations=table)[0]
    values = table[(table["state"] == "original") & (table["layer"] >= 0)].pivot(
        index="layer", columns="dimension", values="mean_abs"
    )
    shown, step = axes.collections[0].get_array(), 3
    assert shown.shape == (LAYERS, -(-many // step))
    for cell in (0, OUTLIER // step, shown.shape[1] - 1):
        np.testing.assert_array_equal(shown[:, cell], values.iloc[:, cell * step : (cell + 1) * step].max(axis=1))
    assert (shown[:, OUTLIER // step] > 290).all() and np.median(shown.data) < 20
    ticks = dict(zip(axes.get_xticks(), [int(name.get_text()) for name in axes.get_xticklabels()], strict=True))
    assert axes.get_xlim() == (0, shown.shape[1]) and len(ticks) >= 3
    assert all(name - step < step * (at - 0.5) < name + step for at, name in ticks.items())


def test_figure05_draws_where_nothing_differs():
    same = activations().query("state == 'original'")
    table = pd.concat([same.assign(state=state) for state in STATES])
    *_, edited, pruned = [axes for axes in drawn("figure05", activations=table) if is_map(axes)]
    assert edited.collections[0].get_array().mask.all() and pruned.collections[0].get_array().mask.all()


def test_figure13_follows_the_most_pruned_dimensions():
    table, pruned = activations(), structure()
    top = pruned.nlargest(5, "pruned")
    panels = drawn("figure13")
    assert [axes.get_title() for axes in panels] == [
        f"dim {row.dimension}\n({row.pruned:.1%} pruned)" for row in top.itertuples()
    ]
    for axes, dimension in zip(panels, top["dimension"], strict=True):
        for state in STATES:
            chosen = table[(table["state"] == state) & (table["dimension"] == dimension) & (table["layer"] >= 0)]
            np.testing.assert_array_equal(curve(axes, style.LABELS[state]), chosen["mean"])
            edges = np.stack([chosen["mean"] - chosen["sem"], chosen["mean"] + chosen["sem"]], axis=1)
            np.testing.assert_allclose(band(axes, style.LABELS[state]), edges)
    before, edited = (curve(panels[0], style.LABELS[state]) for state in STATES[:2])
    assert (before[:LAYER] == edited[:LAYER]).all() and (before[LAYER:] != edited[LAYER:]).all()


def test_figure13_draws_other_dimensions_when_others_are_pruned_and_settles_ties_as_figure12_does():
    pruned = structure()
    least = pruned.nsmallest(5, "pruned")["dimension"]
    turned = pruned.assign(pruned=1 - pruned["pruned"])
    assert {int(axes.get_title().split()[1]) for axes in drawn("figure13", structure=turned)} == set(least)
    tied = pruned.assign(pruned=0.25)
    last = tied.sort_values(["pruned", "dimension"])["dimension"].tail(5)  # as figure 12 orders them
    assert [int(axes.get_title().split()[1]) for axes in drawn("figure13", structure=tied)] == list(last[::-1])
    with pytest.raises(OnemaskError, match="'dimension'"):
        drawn("figure13", structure=pruned.assign(dimension=pruned["dimension"] + DIMENSIONS))


def test_figure14_draws_each_criterion_and_fill_against_its_share():
    table = pruning()
    rsr = table.query("metric == 'rsr' and relation == 'all'")
    for axes, (state, title) in zip(drawn("figure14"), figure14.TITLES.items(), strict=True):
        assert axes.get_title() == title
        assert set(curve(axes, "90% reversed")) == {0.9}
        for criterion in style.CRITERIA:
            line = next(line for line in axes.lines if line.get_label() == style.LABELS[criterion])
            rows = style.rows(rsr, state=state, parametrisation=criterion).sort_values("share")
            np.testing.assert_array_equal(line.get_xydata(), rows[["share", "value"]])
            np.testing.assert_allclose(band(axes, line.get_label()), rows[["ci_low", "ci_high"]])
    with pytest.raises(OnemaskError, match="columns"):
        drawn("figure14", pruning=table[(table["parametrisation"] != "columns") | (table["state"] != "restored")])


def test_figure14_sets_masks_at_their_own_share_with_their_interval():
    reversal, further = trained(*OWN), studies()
    points = {"this_mask": (reversal, "shared", ""), "random": (reversal, "random", "")}
    points |= {"sigmoid": (further, "shared", "sigmoid"), "topk": (further, "shared", "topk")}
    for axes in drawn("figure14"):
        for look, (table, state, parametrisation) in points.items():
            line = next(line for line in axes.lines if line.get_label() == style.LABELS[look])
            assert line.get_linestyle() == "None" and line.get_marker() == style.MARKERS[look]
            masks = style.rows(table, state=state, parametrisation=parametrisation, relation="all")
            pruned = masks[masks["metric"] == "pruned"].set_index("share")["value"]
            rows = masks[(masks["metric"] == "rsr") & (masks["split"] == SPLIT)].set_index("share").assign(pruned=pruned)
            np.testing.assert_array_equal(line.get_xydata(), rows[["pruned", "value"]].sort_values("pruned"))
            for row in rows.itertuples():
                assert any(ends == pytest.approx([row.ci_low, row.ci_high]) for ends in whisker(axes, row.pruned))
    names = [line.get_label() for line in drawn("figure14", studies=None)[0].lines]
    assert style.LABELS["this_mask"] in names and not {style.LABELS[name] for name in ("sigmoid", "topk")} & set(names)
    lacking = further[(further["metric"] != "pruned") | (further["parametrisation"] != "topk")]
    with pytest.raises(OnemaskError, match="pruned share of every mask; found none of \\['topk"):
        drawn("figure14", studies=lacking)


def test_attention_draws_means_by_layer_and_gains_by_head():
    table = attended()
    curves, edited, pruned, bar = drawn("attention")
    for state in STATES:
        expected = table[table["state"] == state].groupby("layer")["weight"].mean()
        np.testing.assert_allclose(curve(curves, style.LABELS[state]), expected)
    means = table.groupby(["state", "layer", "head"])["weight"].mean().unstack("head")
    for axes, state in ((edited, "edited"), (pruned, "shared")):
        shown = axes.collections[0]
        np.testing.assert_allclose(shown.get_array(), means.loc[state] - means.loc["original"], atol=1e-12)
        assert shown.get_clim() == pytest.approx((-0.3, 0.3)) and shown.get_clim() == bar.get_ylim()
    assert edited.get_title().endswith("\n3.1, 5.0, 4.2") and pruned.get_title().endswith("\n4.3")
    assert [frame.get_xy() for frame in edited.patches] == [(1, 3), (0, 5), (2, 4)]


def test_attention_marks_losses_and_not_gains():
    _, edited, pruned, _ = drawn("attention")
    lost = [[line.get_xydata().tolist() for line in axes.lines if line.get_marker() == "_"] for axes in (edited, pruned)]
    assert lost == [[], [[[3.5, 4.5]]]]
    table = attended()
    swapped = table.assign(state=table["state"].replace({"original": "edited", "edited": "original"}))
    edited = drawn("attention", attention=swapped)[1]
    marks = next(line for line in edited.lines if line.get_marker() == "_")
    assert sorted(map(tuple, marks.get_xydata())) == [(0.5, 5.5), (1.5, 3.5), (2.5, 4.5)]


def test_attention_pairs_facts_and_draws_where_nothing_differs():
    table = attended()
    shuffled = table.sample(frac=1, random_state=0)
    for turn in (1, 2):
        shown = [drawn("attention", attention=each)[turn].collections[0].get_array() for each in (table, shuffled)]
        np.testing.assert_allclose(*shown, atol=1e-12)
    same = pd.concat([table.query("state == 'original'").assign(state=state) for state in STATES])
    _, edited, pruned, _ = drawn("attention", attention=same)
    assert all(axes.get_title().endswith("no change") and not axes.patches for axes in (edited, pruned))


def test_patching_draws_shares_with_intervals_up_to_none():
    table = patched().assign(returned=lambda rows: rows["logp_true_first"] > rows["logp_new_first"])
    for axes, column in zip(drawn("patching"), ("returned", "top1"), strict=True):
        for component, state in patching.STATES.items():
            expected = table[table["component"] == component].groupby("first_layer")[column].mean()
            line = next(line for line in axes.lines if line.get_label() == style.LABELS[state])
            np.testing.assert_allclose(line.get_xydata(), expected.reset_index())
            low, high = band(axes, style.LABELS[state]).T
            assert (low <= expected).all() and (high >= expected).all()
            assert (high - low > 0.3).all()  # seven facts: also where none returns
        ticks = dict(zip(axes.get_xticks(), [name.get_text() for name in axes.get_xticklabels()], strict=True))
        assert ticks.pop(LAYERS) == "none" and all(name == str(int(at)) for at, name in ticks.items())
    assert patching.wilson(pd.Series([1.0] * 5 + [0.0] * 5)) == pytest.approx((0.2366, 0.7634), abs=1e-4)


def test_patching_returns_where_the_original_is_more_probable():
    table = patched()
    swapped = table.rename(columns={"logp_true_first": "logp_new_first", "logp_new_first": "logp_true_first"})
    for state in patching.STATES.values():
        shown, turned = (curve(drawn("patching", patching=each)[0], style.LABELS[state]) for each in (table, swapped))
        np.testing.assert_allclose(shown, 1 - turned)
    assert (curve(drawn("patching")[1], "attention") == curve(drawn("patching", patching=swapped)[1], "attention")).all()


def test_one_titled_row_a_model():
    for module, tables in FIGURES.values():
        two = compose.compose(module.draw, {"A": tables, "B": tables}, module.SIZE)
        assert [row.get_suptitle() for row in two.subfigs] == ["A", "B"]
