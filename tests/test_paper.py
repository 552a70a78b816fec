"""The paper's figures: none lost, each under its key, and beside ours only where model and quantity are the same."""

import itertools
import math
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml
from snakemake.iocontainers import Namedlist

import compare_with_paper
from onemask.io.errors import OnemaskError
from onemask.io.files import read_table, write_table
from onemask.summaries import paper
from onemask.summaries.measures import single
from onemask.summaries.schemas import MEASURES, PAPER_VS_OURS
from test_measures import one, tidy

ROOT = Path(__file__).resolve().parent.parent
VALUES = ROOT / "config" / "paper_values.yaml"
PRINTED = ROOT.parent / "shared" / "paper" / "values.yaml"
CONTENT = yaml.safe_load(VALUES.read_text(encoding="utf-8"))
RSR = {"method": "rome", "split": "test", "state": "shared", "metric": "rsr"}
PERPLEXITY = {"method": "rome", "split": "perplexity", "state": "edited", "metric": "perplexity"}
LABELS = CONTENT["models"] | {"small": "Small"}


@pytest.fixture(scope="module")
def printed() -> paper.Paper:
    return paper.read(VALUES)


def measured(value: float, model: str, low: float = math.nan, high: float = math.nan, seed: int = 0, **key) -> dict:
    relation = key.pop("relation", "all")
    row = single(key.pop("metric"), value, 40, seed, relation, model=model, **key)
    return row | {"ci_low": low, "ci_high": high}


def compared(printed: paper.Paper, rows: list[dict], models: list[str], settings: dict | None = None) -> pd.DataFrame:
    measures = tidy(rows).astype(dict.fromkeys(("value", "ci_low", "ci_high"), float))
    return paper.compare(printed.values, measures, models, settings or {})


def written(folder: Path, **changes) -> Path:
    """A file like the shipped one, but for these keys."""
    path = folder / "values.yaml"
    path.write_text(yaml.safe_dump(CONTENT | changes, sort_keys=False), encoding="utf-8")
    return path


def leaves(node: object) -> list:
    if isinstance(node, dict):
        return [leaf for value in node.values() for leaf in leaves(value)]
    return [leaf for value in node for leaf in leaves(value)] if isinstance(node, list) else [node]


@pytest.fixture(scope="module")
def source() -> dict:
    if not PRINTED.is_file():
        pytest.skip("the figures as first copied are not here")
    return yaml.safe_load(PRINTED.read_text(encoding="utf-8"))


def test_no_figure_is_lost(source, printed):
    wanted = Counter(leaf for leaf in leaves(source) if isinstance(leaf, (int, float)))
    values, spreads = printed.values["paper"], printed.values["paper_spread"]
    ends = pd.concat([values - spreads, values + spreads]).round(9)  # of what the paper prints as a range
    held = Counter(values.dropna()) + Counter(spreads.dropna()) + Counter(ends.dropna())
    assert wanted and not wanted - held
    assert sum(leaf is None for leaf in leaves(source)) == printed.values["paper"].isna().sum()


def test_figures_stand_under_the_keys_of_our_measures(source, printed):
    splits = {"rome": ("train", "test"), "memit": ("joint_train", "joint_test")}
    shown = printed.values
    for (method, (train, test)), model in itertools.product(splits.items(), CONTENT["models"]):
        for key, value in source["table1_edited_models"][method][model].items():
            where = {"printed_in": "table1", "split": test, "state": "edited", "metric": key}
            assert one(shown, model=model, method=method, **where)["paper"] == value
        figures = source["table2_reversal"][method][model]
        keys = {
            "pruned": ("all", "shared", "pruned"),
            "train_rsr": (train, "shared", "rsr"),
            "train_top1": (train, "shared", "top1"),
            "test_rsr": (test, "shared", "rsr"),
            "test_top1": (test, "shared", "top1"),
            "ppl_original": ("perplexity", "original", "perplexity"),
            "ppl_edited": ("perplexity", "edited", "perplexity"),
            "ppl_pruned": ("perplexity", "shared", "perplexity"),
        }
        for key, (split, state, metric) in keys.items():
            where = {"printed_in": "table2", "split": split, "state": state, "metric": metric}
            row = one(shown, model=model, method=method, **where)
            assert row["paper"] == figures[key]
            assert row["paper_spread"] == pytest.approx(figures.get(f"{key}_pm", math.nan), nan_ok=True)
    for model, methods in source["table3_confidence"].items():
        for (method, figures), key in itertools.product(methods.items(), ("p_original_sd", "p_edited", "p_value", "cohens_d")):
            where = {
                "printed_in": "table3",
                "split": splits[method][1],
                "state": "original" if key == "p_original_sd" else "edited",
            }
            assert one(shown, model=model, method=method, metric=key, **where)["paper"] == figures[key]
    for case, figures in source["table6_collapse_recovery"].items():
        for key, value in figures.items():
            where = {"printed_in": "table6", "metric": key.replace("ppl", "perplexity"), "item": str(case)}
            assert one(shown, model="gpt2-xl", **where)["paper"] == value


def test_settings_of_the_paper_are_settings_of_ours(printed):
    known = yaml.safe_load((ROOT / "config" / "defaults.yaml").read_text(encoding="utf-8"))["mask"]
    named = {metric.removeprefix("mask.") for metric in printed.values["metric"] if metric.startswith("mask.")}
    assert named - set(known) == {"gamma", "beta_1", "beta_2"}  # gamma has no default, the betas are fixed in the code


def test_an_unknown_key_is_refused(tmp_path):
    entry = CONTENT["values"][0]
    with pytest.raises(OnemaskError, match="metrik.*Did you mean 'metric'"):
        paper.read(written(tmp_path, values=[entry | {"metrik": "rsr"}]))
    with pytest.raises(OnemaskError, match="paper_values.schema.yaml"):
        paper.read(written(tmp_path, values=[entry | {"value": "two thousandths"}]))


def test_a_duplicate_and_an_unknown_model_are_refused(tmp_path):
    entry = CONTENT["values"][0]
    for again in (entry, entry | {"value": 0.5}, entry | {"relation": "all"}):
        with pytest.raises(OnemaskError, match="each figure once"):
            paper.read(written(tmp_path, values=[entry, again]))
    assert len(paper.read(written(tmp_path, values=[entry, entry | {"relation": "P17"}])).values) == 2
    with pytest.raises(OnemaskError, match="models out of gpt2-xl"):
        paper.read(written(tmp_path, values=[entry | {"model": "gpt-2-xl"}]))


def test_every_figure_has_a_row_that_is_blank_where_nothing_was_run(printed, tmp_path):
    table = compared(printed, [measured(0.5, "small", **RSR | {"state": "random"})], ["small"])
    assert len(table) == len(printed.values)
    assert table[["ours", "ci_low", "ci_high", "n", "difference"]].isna().all(axis=None) and set(table["within"]) == {""}
    write_table(tmp_path / "t.parquet", PAPER_VS_OURS, table, {})
    assert len(read_table(tmp_path / "t.parquet", PAPER_VS_OURS)) == len(table)


@pytest.mark.parametrize(
    ("low", "high", "within"),
    [(0.80, 0.90, "yes"), (0.82, 0.90, "yes"), (0.83, 0.90, "no"), (0.70, 0.81, "no"), (math.nan, math.nan, "")],
)
def test_difference_and_interval(printed, low, high, within):
    row = one(
        compared(printed, [measured(0.85, "gpt2-xl", low, high, **RSR)], ["gpt2-xl"]), printed_in="table2", model="gpt2-xl", **RSR
    )
    assert (row["paper"], row["ours"], row["n"], row["within"]) == (0.82, 0.85, 40, within)
    assert row["difference"] == pytest.approx(0.03)


@pytest.mark.parametrize(("model", "paper_says", "within"), [("gpt2-xl", 44.51, "yes"), ("llama-3.2-3b", 9.59, "no")])
def test_the_papers_spread_widens_the_interval(printed, model, paper_says, within):
    rows = [measured(paper_says - 3.0, model, paper_says - 4.0, paper_says - 2.0, **PERPLEXITY)]  # 44.51 +- 6.8, 9.59 +- 0
    assert one(compared(printed, rows, [model]), model=model, **PERPLEXITY)["within"] == within


def test_another_models_value_never_meets_the_papers(printed):
    rows = [measured(0.4, "small", 0.3, 0.9, **RSR), measured(0.7, "gpt2-xl", 0.6, 0.9, **RSR)]
    table = compared(printed, rows, ["small"])  # gpt2-xl is none of this run's
    ours = one(table[table["ours"].notna()])
    assert ours["model"] == "small" and math.isnan(ours["paper"]) and math.isnan(ours["difference"]) and ours["within"] == ""
    shown = paper.wide(table, ["small"], LABELS, printed.words)
    line = one(shown, **{"printed in": "Table 2"}, quantity="RSR, pruned model", method="rome", split="test")
    assert (line["GPT-2 XL paper"], line["Small ours"]) == ("0.820", "0.400 [0.300, 0.900]")
    assert not [name for name in shown.columns if name.endswith(("difference", "within"))]
    assert not {"GPT-2 XL ours", "Small paper"} & set(shown.columns)


def test_a_figure_of_no_named_model_is_joined_to_none(printed):
    key = {"method": "rome", "split": "test", "state": "masked", "metric": "token_accuracy"}
    table = compared(printed, [measured(0.4, model, 0.3, 0.5, **key) for model in ("gpt2-xl", "")], ["gpt2-xl"])
    part = table[table["printed_in"] == "figure6"]
    assert one(part, model="", state="masked")["paper"] == 0.38 and part["difference"].isna().all()
    assert one(part, model="gpt2-xl")["ours"] == 0.4 and part.loc[part["model"] == "", "ours"].isna().all()


def test_models_with_one_label_keep_columns_of_their_own(printed):
    table = compared(printed, [measured(0.4, "small", **RSR)], ["small"])
    shown = paper.wide(table, ["small"], LABELS | {"small": "GPT-2 XL"}, printed.words)
    assert {"GPT-2 XL (gpt2-xl) paper", "GPT-2 XL (small) ours"} <= set(shown.columns)


def test_several_seeds_are_averaged_and_lose_their_interval(printed):
    rows = [measured(value, "gpt2-xl", 0.1, 0.9, seed, **RSR) for seed, value in enumerate((0.7, 0.8))]
    row = one(compared(printed, rows, ["gpt2-xl"]), printed_in="table2", model="gpt2-xl", **RSR)
    assert row["ours"] == pytest.approx(0.75) and math.isnan(row["ci_low"]) and row["within"] == ""
    twice = one(compared(printed, rows[:1] * 2, ["gpt2-xl"]), printed_in="table2", model="gpt2-xl", **RSR)
    assert twice["ours"] == 0.7 and twice["within"] == "yes"  # one seed that two files hold


def test_settings_stand_beside_the_papers(printed):
    settings = {"gpt2-xl": {"gamma": 0.5, "lr": 1.0e-3, "cut": "gamma"}, "small": {"gamma": 0.6}}
    table = compared(printed, [], ["gpt2-xl", "small"], settings)
    gamma = one(table, model="gpt2-xl", metric="mask.gamma")
    assert (gamma["printed_in"], gamma["paper"], gamma["ours"], gamma["method"]) == ("training", 0.7, 0.5, "")
    assert gamma["difference"] == pytest.approx(-0.2)
    assert one(table, model="gpt2-xl", metric="mask.lr")["difference"] == 0.0
    assert one(table, model="small", metric="mask.gamma")["ours"] == 0.6
    assert table["ours"].notna().sum() == 3


def test_the_wide_table_has_a_row_a_quantity_with_its_own_words(printed):
    shown = paper.wide(compared(printed, [], ["gpt2-xl"]), ["gpt2-xl"], LABELS, printed.words)
    assert len(shown) == len(printed.values.drop_duplicates(["printed_in", *paper.QUANTITY]))
    assert not shown.duplicated(["printed in", "quantity", "method", "split"]).any()
    assert list(shown.columns[4:8]) == [f"GPT-2 XL {name}" for name in ("paper", "ours", "difference", "within")]
    papers = [name for name in shown.columns if name.endswith(" paper")]
    assert (shown[papers] != "").sum().sum() == printed.values["paper"].notna().sum()
    assert (shown["GPT-2 XL ours"] == "").all()


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("rsr", 0.82, "0.820"),
        ("rsr", 0.0, "0.000"),
        ("p_original", 2.46e-5, "2.46e-05"),
        ("p_value", 2.9e-165, "2.9e-165"),
        ("facts", 3000.0, "3,000"),
        ("output_dimensions", 1600.0, "1,600"),
        ("perplexity_edited", 21840210.0, "21,840,210.00"),
        ("mask.lr", 1.0e-3, "0.001"),
        ("mask.epochs", 300.0, "300"),
        ("gpu_hours", 40.0, "40"),
    ],
)
def test_numbers_read_as_people_write(printed, metric, value, text):
    values = printed.values.iloc[:1].assign(metric=metric, paper=value, paper_spread=math.nan)
    key = values.iloc[0][paper.QUANTITY].to_dict()
    shown = paper.wide(
        paper.compare(values, tidy([measured(value, "gpt2-xl", **key)]), ["gpt2-xl"], {}), ["gpt2-xl"], LABELS, printed.words
    )
    assert shown.iloc[0]["GPT-2 XL paper"] == shown.iloc[0]["GPT-2 XL ours"] == text
    assert float(shown.iloc[0]["GPT-2 XL difference"]) == 0.0


def test_pages_for_readers_show_the_table_under_its_caption(printed):
    shown = paper.wide(compared(printed, [], ["small"]), ["small"], LABELS, printed.words)
    text = paper.caption(printed, ["small"], LABELS)
    assert "2605.28839v1" in text and "Ali Holmov" in text and "ours of Small." in text
    page = paper.markdown(shown, text)
    assert page.startswith(f"**Paper beside ours.** {text}\n|") and page.count("\n|") == len(shown) + 2
    assert "<td>44.51 ± 6.80</td>" in paper.html(shown)


def test_the_script_writes_every_file(tmp_path):
    for seed in (0, 1):
        rows = [measured(0.4, "small", 0.3, 0.5, seed, **RSR)]
        write_table(tmp_path / f"{seed}.parquet", MEASURES, rows, {})
    kinds = ("parquet", "csv", "md", "html", "caption")
    output = {kind: tmp_path / f"paper.{kind}" for kind in kinds}
    params = {"models": ["small"], "labels": {"small": "Small"}, "mask_settings": {"small": {"gamma": 0.6}}}
    smk = SimpleNamespace(
        rule="compare_with_paper",
        input=Namedlist(fromdict={"values": VALUES, "measures": [tmp_path / "0.parquet", tmp_path / "1.parquet"]}),
        output=Namedlist(fromdict=output),
        params=Namedlist(fromdict=params),
        wildcards=Namedlist(),
    )
    compare_with_paper.main(smk)
    assert one(read_table(output["parquet"], PAPER_VS_OURS), model="small", printed_in="table2")["ours"] == 0.4
    shown = pd.read_csv(output["csv"], dtype=str, keep_default_na=False)
    assert one(shown, **{"printed in": "Training"}, quantity="setting gamma")["Small ours"] == "0.6"
    assert all("Small" in output[kind].read_text(encoding="utf-8") for kind in kinds[1:])
