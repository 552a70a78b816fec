"""The figures of the further studies show their tables' values, say what their axes are, and save the same bytes."""

import numpy as np
import pandas as pd
import pytest

from onemask.figures import compose, layers, mask_shares, style, training_size, transfer
from onemask.io.errors import OnemaskError
from test_figures import axes_of, band, filled

METHODS = ("alphaedit", "memit", "rome", "seventh")
LAYERS, SIZES = (21, 5, 13), {120: 120, None: 450, 30: 30, 480: 480}  # null: the run's own mask
MASKS = {"topk": "shared", "hard-concrete": "shared", "update": "zeroed", "columns": "restored"}  # parametrisation: state


def measures(*rows: dict) -> pd.DataFrame:
    """A row each; every value its own, so that no column can stand for another; no interval for split "all"."""
    table = pd.DataFrame(rows)
    value = np.random.default_rng(0).permutation(np.linspace(0.05, 0.95, len(table)))
    interval = {
        side: np.where(table["split"] == "all", np.nan, value + way) for side, way in (("ci_low", -0.04), ("ci_high", 0.03))
    }
    return filled(table.assign(value=value, **interval))


def shares() -> pd.DataFrame:
    masks = [{"state": state, "parametrisation": kind, "share": share} for kind, state in MASKS.items() for share in (0.1, 0.02)]
    masks += [{"state": "random", "parametrisation": "topk", "share": share} for share in (0.1, 0.02)]
    masks.append({"state": "shared", "parametrisation": "", "share": np.nan})
    others = [{"state": state, "parametrisation": "", "share": np.nan} for state in (*mask_shares.REFERENCES, "random")]
    kinds = (("rsr", "test"), ("rsr", "train"), ("top1", "test"), ("perplexity", "perplexity"))
    rows = [mask | {"metric": metric, "split": split} for mask in masks + others for metric, split in kinds]
    return measures(*rows, *[mask | {"metric": "pruned", "split": "all"} for mask in masks])


def transfers() -> pd.DataFrame:
    cells = [{"state": "shared", "trained_on": trained, "method": method} for trained in METHODS[1:] for method in METHODS]
    cells = [cell for cell in cells if (cell["trained_on"], cell["method"]) != ("memit", "alphaedit")]
    cells += [
        {"state": state, "trained_on": "", "method": method} for state in ("edited", "random", "original") for method in METHODS
    ]
    splits = {method: ("train", "test") if method == "rome" else ("joint_train", "joint_test") for method in METHODS}
    return measures(*[cell | {"metric": "rsr", "split": split} for cell in cells for split in splits[cell["method"]]])


def by_layer() -> pd.DataFrame:
    states = ("shared", "edited", "random", "layer_zeroed")
    rows = [(state, "rsr", split, layer) for layer in LAYERS for state in states for split in ("train", "test")]
    rows += [row for layer in LAYERS for row in (("", "common_energy", "all", layer), ("edited", "success", "test", layer))]
    rows += [("shared", "success", "test", layer) for layer in LAYERS] + [("shared", "rank_correlation", "test", np.nan)]
    return measures(*[dict(zip(("state", "metric", "split", "layer"), row, strict=True)) for row in rows])


def sizes() -> pd.DataFrame:
    splits = ("train", "test")
    masks = [{"state": "shared", "training_edits": size} for size in SIZES]
    rows = [mask | {"metric": metric, "split": split} for mask in masks for metric in ("rsr", "top1") for split in splits]
    rows += [{"state": state, "metric": "rsr", "split": split} for state in ("original", "random") for split in splits]
    table = measures(*rows, *[mask | {"metric": "training_edits", "split": "all"} for mask in masks])
    return table.assign(value=table["value"].where(table["metric"] != "training_edits", table["training_edits"].fillna(450)))


FIGURES = {mask_shares: shares, transfer: transfers, layers: by_layer, training_size: sizes}


def lines(axes) -> dict[str, object]:
    return {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}


def segments(axes) -> list[tuple]:
    """All whiskers drawn: x, low, high."""
    found = [part.get_segments() for part in axes.collections if hasattr(part, "get_segments")]
    return [(*ends[0], ends[1][1]) for part in found for ends in part]


@pytest.mark.parametrize("module", FIGURES, ids=lambda module: module.__name__.split(".")[-1])
def test_same_bytes_twice_labelled_axes_and_no_empty_figure(module, tmp_path):
    table = FIGURES[module]()
    for name in ("a.png", "a.pdf", "b.png", "b.pdf"):
        figure = compose.compose(module.draw, {"model": {"measures": table}}, module.SIZE)
        compose.save(figure, tmp_path / name)
    for suffix in ("png", "pdf"):
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()
    for axes in figure.axes:
        assert axes.get_ylabel()
        below = [other.get_xlabel() for other in axes.get_shared_x_axes().get_siblings(axes)]
        assert any(below) or axes.get_label() == "<colorbar>"
    with pytest.raises(OnemaskError):
        axes_of(module, measures=table.iloc[:0])


def test_mask_shares_draws_every_family_against_its_pruned_share():
    table = shares()
    table = table[(table["parametrisation"] != "update") | (table["metric"] != "perplexity")]
    key = ["state", "parametrisation", "share"]
    percent = 100 * style.rows(table, metric="pruned").set_index(key)["value"]
    looks = {("shared", "topk"): "topk", ("shared", "hard-concrete"): "hard-concrete", ("shared", ""): "this_mask"}
    looks |= {("zeroed", "update"): "update, zeroed", ("restored", "columns"): "columns, restored", ("random", "topk"): "random"}
    panels = axes_of(mask_shares, measures=table)
    for axes, (metric, split) in zip(panels, mask_shares.PANELS, strict=True):
        rows, drawn = style.rows(table, metric=metric, split=split), lines(axes)
        assert axes.get_xscale() == "log"
        for state in mask_shares.REFERENCES:
            assert set(drawn.pop(style.LABELS[state]).get_ydata()) == set(rows.loc[rows["state"] == state, "value"])
        for name, part in rows.groupby(["state", "parametrisation"]):
            if name in looks:
                part = part.set_index(key).assign(percent=percent).sort_values("percent")
                np.testing.assert_allclose(drawn.pop(style.LABELS[looks[name]]).get_xydata(), part[["percent", "value"]])
                for whisker in part[["percent", "ci_low", "ci_high"]].to_numpy():
                    assert any(np.allclose(found, whisker) for found in segments(axes))
        assert not drawn
    hollow, full = (lines(panels[0])[label] for label in ("column norm, restored", "update, zeroed"))
    assert hollow.get_markerfacecolor() == "white" != full.get_markerfacecolor()
    with pytest.raises(OnemaskError, match="top1"):
        axes_of(mask_shares, measures=table[table["metric"] != "top1"])
    with pytest.raises(OnemaskError, match="pruned share of every mask; found none of \\['random', 'topk'\\]"):
        axes_of(mask_shares, measures=table[(table["metric"] != "pruned") | (table["parametrisation"] != "topk")])


def test_transfer_shows_every_method_of_the_table_in_order():
    table = transfers()
    trained, controls, bar = axes_of(transfer, measures=table)
    table = table[table["split"].str.endswith("test")]
    table = table.assign(row=table["trained_on"].where(table["state"] == "shared", table["state"]))
    expected = table.pivot(index="row", columns="method", values="value")
    for axes, rows in ((trained, ["rome", "memit", "seventh"]), (controls, ["random", "edited"])):
        shown = axes.collections[0].get_array().filled(np.nan)
        np.testing.assert_array_equal(shown, expected.loc[rows, ["rome", "memit", "alphaedit", "seventh"]])
        assert [text.get_text() for text in axes.texts] == [f"{value:.2f}" for value in shown.ravel() if value == value]
    assert [name.get_text() for name in controls.get_xticklabels()] == ["ROME", "MEMIT", "AlphaEdit", "seventh"]
    assert [name.get_text() for name in trained.get_yticklabels()] == ["ROME", "MEMIT", "seventh"]
    assert [name.get_text() for name in controls.get_yticklabels()] == ["random mask", "no mask"]
    assert [frame.get_xy() for frame in trained.patches] == [(0, 0), (1, 1), (3, 2)]
    assert trained.collections[0].get_clim() == bar.get_ylim() == (0, 1)
    with pytest.raises(OnemaskError, match="random"):
        axes_of(transfer, measures=table[table["state"] != "random"])


def test_layers_draws_curves_and_correlates_energy_with_the_trained_mask():
    table = by_layer()
    curves, scatter = axes_of(layers, measures=table)
    shown = table[table["split"] != "train"].sort_values("layer")
    for metric, state, name in layers.CURVES.values():
        expected = style.rows(shown, metric=metric, state=state)
        np.testing.assert_array_equal(lines(curves)[name].get_xydata(), expected[["layer", "value"]])
    trained = style.rows(shown, metric="rsr", state="shared")
    trained = trained.assign(energy=style.rows(shown, metric="common_energy")["value"].to_numpy())
    points = trained.sort_values("energy")
    np.testing.assert_array_equal(lines(scatter)[style.LABELS["shared"]].get_xydata(), points[["energy", "value"]])
    np.testing.assert_allclose(segments(scatter), points[["energy", "ci_low", "ci_high"]])
    numbers = {text.get_text(): list(text.xy) for text in scatter.texts}
    assert numbers == {f"{row.layer:.0f}": [row.energy, row.value] for row in trained.itertuples()}
    row = style.rows(table, metric="rank_correlation").iloc[0]
    assert scatter.get_title() == f"Spearman {row['value']:.2f} [{row['ci_low']:.2f}, {row['ci_high']:.2f}]"
    with pytest.raises(OnemaskError, match="shared"):
        axes_of(layers, measures=table[table["state"] != "shared"])


def test_training_size_draws_test_with_its_band_and_training_by_number_of_edits():
    table = sizes()
    for axes, metric in zip(axes_of(training_size, measures=table), training_size.PANELS, strict=True):
        rows = table[table["metric"] == metric].assign(edits=table["training_edits"].fillna(450))
        masks = rows[rows["state"] == "shared"].sort_values("edits").set_index(["split", "edits"])
        for split, name in (("test", "test facts"), ("train", "edits trained on")):
            np.testing.assert_array_equal(lines(axes)[name].get_xydata(), masks.loc[split].reset_index()[["edits", "value"]])
        np.testing.assert_allclose(band(axes, "test facts"), masks.loc["test"][["ci_low", "ci_high"]])
        ring = lines(axes)[style.LABELS["this_mask"]]
        assert (*ring.get_xdata(), *ring.get_ydata()) == (450, masks["value"]["test", 450])
        assert [name.get_text() for name in axes.get_xticklabels()] == ["30", "120", "450", "\n480"]
        for state in ("original", "random"):
            found = {line.get_ydata()[0] for line in axes.lines if line.get_label() == style.LABELS[state]}
            assert found == set(rows.loc[(rows["state"] == state) & (rows["split"] == "test"), "value"])
