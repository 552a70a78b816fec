"""The figures of the further studies show their tables' values, say what their axes are, and save the same bytes."""

import numpy as np
import pandas as pd
import pytest

from onemask.figures import compose, layers, mask_shares, style, training_size, transfer
from onemask.io.errors import OnemaskError
from onemask.summaries.schemas import MEASURES
from test_figures import axes_of, curve

METHODS = ("alphaedit", "memit", "rome")
LAYERS, SIZES = (21, 5, 13), {"edits120": 120, "shared": 450, "edits30": 30, "edits480": 480}


def measures(*rows: tuple) -> pd.DataFrame:
    """Rows (mask, metric, split, method); every value its own, so that no column can stand for another; no interval for "all"."""
    table = pd.DataFrame(rows, columns=["mask", "metric", "split", "method"])
    value = np.random.default_rng(0).permutation(np.linspace(0.05, 0.95, len(table)))
    interval = {
        side: np.where(table["split"] == "all", np.nan, value + way) for side, way in (("ci_low", -0.04), ("ci_high", 0.03))
    }
    table = table.assign(model="m", seed=0, value=value, n=40, relation="all", **interval)
    return table[MEASURES.names]


def shares() -> pd.DataFrame:
    families = ("topk", "hard-concrete", "random", "update-zero", "update-original")
    masks = [f"{family}-{percent}" for family in families for percent in (10, 2)] + ["shared"]
    kinds = (("rsr", "test"), ("rsr", "train"), ("top1", "test"), ("perplexity", "perplexity"))
    rows = [(mask, *kind, "rome") for mask in [*masks, *mask_shares.REFERENCES] for kind in kinds]
    return measures(*rows, *[(mask, "pruned", "all", "rome") for mask in masks])


def transfers() -> pd.DataFrame:
    cells = [(trained, method) for trained in METHODS[1:] for method in METHODS if (trained, method) != ("memit", "alphaedit")]
    controls = [(mask, method) for mask in ("none", "random") for method in METHODS]
    splits = {method: ("train", "test") if method == "rome" else ("joint_train", "joint_test") for method in METHODS}
    return measures(*[(mask, "rsr", split, method) for mask, method in cells + controls for split in splits[method]])


def by_layer() -> pd.DataFrame:
    masks = ("topk-10", "none", "random", "layer_zeroed")
    rows = [(mask, "rsr", split, f"rome-layer{layer}") for layer in LAYERS for mask in masks for split in ("train", "test")]
    rows += [
        ("none", *kind, f"rome-layer{layer}") for layer in LAYERS for kind in (("common_energy", "all"), ("success", "test"))
    ]
    return measures(*rows, ("topk-10", "rank_correlation", "test", "rome"))


def sizes() -> pd.DataFrame:
    rows = [(mask, metric, split, "rome") for mask in SIZES for metric in ("rsr", "top1") for split in ("train", "test")]
    rows += [(mask, "rsr", split, "rome") for mask in ("original", "random") for split in ("train", "test")]
    table = measures(*rows, *[(mask, "training_edits", "all", "rome") for mask in SIZES])
    return table.assign(value=table["value"].where(table["metric"] != "training_edits", table["mask"].map(SIZES)))


FIGURES = {mask_shares: shares, transfer: transfers, layers: by_layer, training_size: sizes}


def lines(axes) -> dict[str, object]:
    return {line.get_label(): line for line in axes.lines if line.get_label() != "_nolegend_"}


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
    table = table[~(table["mask"].str.startswith("update") & (table["metric"] == "perplexity"))]
    percent = 100 * style.rows(table, metric="pruned").set_index("mask")["value"]
    panels = axes_of(mask_shares, measures=table)
    for axes, (metric, split) in zip(panels, mask_shares.PANELS, strict=True):
        rows, drawn = style.rows(table, metric=metric, split=split).set_index("mask"), lines(axes)
        assert axes.get_xscale() == "log"
        for mask, state in mask_shares.REFERENCES.items():
            assert set(drawn[style.labels[state]].get_ydata()) == {rows["value"][mask]}
        trained = rows.drop(list(mask_shares.REFERENCES))
        families = trained.index.str.replace("shared", "this_mask-").str.replace(r"-\d*$", "", regex=True)
        for family, part in trained.groupby(families):
            part = part.assign(percent=percent).sort_values("percent")
            np.testing.assert_allclose(drawn.pop(style.labels[family]).get_xydata(), part[["percent", "value"]])
            for whisker in part[["percent", "ci_low", "ci_high"]].to_numpy():
                assert any(np.allclose(found, whisker) for found in segments(axes))
        assert set(drawn) == {style.labels[state] for state in mask_shares.REFERENCES.values()}
    faces = [lines(panels[0])[style.labels[f"update-{fill}"]].get_markerfacecolor() for fill in ("original", "zero")]
    assert faces[0] == "white" != faces[1]
    with pytest.raises(OnemaskError, match="top1"):
        axes_of(mask_shares, measures=table[table["metric"] != "top1"])


def test_transfer_cells_are_the_tables_values_in_the_methods_order():
    table = transfers()
    trained, controls, bar = axes_of(transfer, measures=table)
    expected = table[table["split"].str.endswith("test")].pivot(index="mask", columns="method", values="value")
    for axes, masks in ((trained, ["rome", "memit"]), (controls, ["random", "none"])):
        shown = axes.images[0].get_array().filled(np.nan)
        np.testing.assert_array_equal(shown, expected.loc[masks, ["rome", "memit", "alphaedit"]])
        assert [text.get_text() for text in axes.texts] == [f"{value:.2f}" for value in shown.ravel() if value == value]
    assert [name.get_text() for name in controls.get_xticklabels()] == ["ROME", "MEMIT", "AlphaEdit"]
    assert [name.get_text() for name in trained.get_yticklabels()] == ["ROME", "MEMIT"]
    assert [name.get_text() for name in controls.get_yticklabels()] == ["random mask", "no mask"]
    assert [frame.get_xy() for frame in trained.patches] == [(-0.5, -0.5), (0.5, 0.5)]
    assert trained.images[0].get_clim() == bar.get_ylim() == (0, 1)


def test_layers_draws_curves_and_correlates_energy_with_the_trained_mask():
    table = by_layer()
    curves, scatter = axes_of(layers, measures=table)
    shown = table[table["method"].str.contains("layer") & (table["split"] != "train")]
    shown = shown.assign(layer=shown["method"].str.removeprefix("rome-layer").astype(int)).sort_values("layer")
    for (metric, mask), (name, *_) in layers.CURVES.items():
        expected = style.rows(shown, metric=metric, mask=mask.replace("trained", "topk-10"))
        np.testing.assert_array_equal(lines(curves)[name].get_xydata(), expected[["layer", "value"]])
    trained = style.rows(shown, metric="rsr", mask="topk-10")
    trained = trained.assign(energy=style.rows(shown, metric="common_energy")["value"].to_numpy())
    np.testing.assert_array_equal(scatter.lines[0].get_xydata(), trained[["energy", "value"]])
    np.testing.assert_allclose(segments(scatter), trained[["energy", "ci_low", "ci_high"]])
    numbers = {text.get_text(): list(text.xy) for text in scatter.texts}
    assert numbers == {str(row.layer): [row.energy, row.value] for row in trained.itertuples()}
    row = style.rows(table, metric="rank_correlation").iloc[0]
    assert scatter.get_title() == f"Spearman {row['value']:.2f} [{row['ci_low']:.2f}, {row['ci_high']:.2f}]"
    with pytest.raises(OnemaskError, match="trained"):
        axes_of(layers, measures=table[table["mask"] != "topk-10"])


def test_training_size_draws_test_with_its_band_and_training_by_number_of_edits():
    table = sizes()
    ordered = ["edits30", "edits120", "shared", "edits480"]
    for axes, metric in zip(axes_of(training_size, measures=table), training_size.PANELS, strict=True):
        rows = table[table["metric"] == metric].set_index(["split", "mask"])
        for split, name in (("test", "test facts"), ("train", "edits trained on")):
            assert list(lines(axes)[name].get_xdata()) == [30, 120, 450, 480]
            np.testing.assert_allclose(curve(axes, name), rows["value"][split][ordered])
        edges = axes.collections[0].get_paths()[0].vertices
        assert edges[:, 1].min() == rows["ci_low"]["test"][ordered].min()
        assert edges[:, 1].max() == rows["ci_high"]["test"][ordered].max()
        ring = lines(axes)[style.labels["this_mask"]]
        assert (*ring.get_xdata(), *ring.get_ydata()) == (450, rows["value"]["test"]["shared"])
        assert [name.get_text() for name in axes.get_xticklabels()] == ["30", "120", "450", "\n480"]
        for mask in training_size.REFERENCES:
            found = {line.get_ydata()[0] for line in axes.lines if line.get_label() == style.labels[mask]}
            assert found == ({rows["value"]["test"][mask]} if metric == "rsr" else set())
