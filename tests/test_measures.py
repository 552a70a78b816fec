"""Measures: bootstrap intervals, reversal, perplexity, blocking, confidence and counts, against hand computation."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from onemask.measuring import schemas
from onemask.summaries import tables
from onemask.summaries.measures import (
    blocking_measures,
    bootstrap_interval,
    confidence_measures,
    fact_measures,
    neighborhood_measures,
    perplexity_measures,
    pruned_measures,
    reversal_measures,
)
from onemask.summaries.schemas import MEASURES

KEY = {"model": "m", "method": "rome"}
COLUMNS = MEASURES.names


def tidy(rows: list[dict]) -> pd.DataFrame:
    """Rows of the `measures` table, which must have its columns and no other."""
    assert all(set(row) == set(COLUMNS) for row in rows)
    return pd.DataFrame(rows, columns=COLUMNS)


def one(table: pd.DataFrame, **where) -> pd.Series:
    """The only row with these values."""
    for key, value in where.items():
        table = table[table[key] == value]
    assert len(table) == 1, table
    return table.iloc[0]


def strata(*sizes: int) -> np.ndarray:
    return np.repeat([f"P{i}" for i in range(len(sizes))], sizes)


def test_the_interval_follows_its_seed():
    values = np.random.default_rng(0).random(50)
    one_stratum = strata(50)
    first = bootstrap_interval(values, one_stratum, 1)
    assert first == bootstrap_interval(values, one_stratum, 1)
    assert first != bootstrap_interval(values, one_stratum, 2)


@pytest.mark.parametrize("size", [30, 400])
def test_the_interval_holds_the_mean_and_has_the_normal_width(size):
    values = np.random.default_rng(5).normal(3.0, 2.0, size)
    low, high = bootstrap_interval(values, strata(size), 0)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / math.sqrt(size), rel=0.1)


def test_the_interval_covers_as_often_as_it_says():
    generator = np.random.default_rng(0)
    draws = [bootstrap_interval(generator.normal(size=60), strata(60), seed) for seed in range(200)]
    share = np.mean([low <= 0 <= high for low, high in draws])
    assert 0.89 < share < 0.99


@pytest.mark.parametrize("sizes", [(7,), (3, 4), (1, 1, 5)])
def test_constant_values_have_no_width(sizes):
    assert bootstrap_interval(np.full(7, 0.25), strata(*sizes), 0) == (0.25, 0.25)


def test_facts_are_drawn_within_their_stratum():
    values = np.repeat([0.0, 1.0], [10, 30])
    assert bootstrap_interval(values, strata(10, 30), 0) == (0.75, 0.75)
    low, high = bootstrap_interval(values, strata(40), 0)
    assert high - low > 0.2


# state, relation, log P(o), log P(o*), the same of the first token, argmax agrees, KL
REVERSAL = [
    ("original", "P1", -1.0, -2.0, -1.0, -2.0, True, 0.0),
    ("original", "P1", -1.0, -2.0, -1.0, -2.0, True, 0.0),
    ("original", "P2", -3.0, -2.0, -1.0, -2.0, True, 0.0),
    ("edited", "P1", -5.0, -0.1, -4.0, -0.1, False, 2.0),
    ("edited", "P1", -1.0, -2.0, -3.0, -2.0, True, 1.0),
    ("edited", "P2", -2.0, -2.0, -2.0, -2.0, False, 6.0),
    ("shared", "P1", -1.0, -5.0, -1.0, -5.0, True, 0.5),
    ("shared", "P1", -1.0, -5.0, -5.0, -1.0, False, 0.5),
    ("shared", "P2", -1.0, -5.0, -1.0, -5.0, True, 2.0),
]


def reversal_table() -> pd.DataFrame:
    names = ["state", "relation_id", "logp_true", "logp_new", "logp_true_first", "logp_new_first", "top1", "kl"]
    frame = pd.DataFrame(REVERSAL, columns=names)
    return frame.assign(case_id=[0, 1, 2] * 3, argmax=0)[schemas.REVERSAL.names]


@pytest.mark.parametrize(
    "state, metric, by_relation",
    [
        ("original", "rsr", {"all": 2 / 3, "P1": 1, "P2": 0}),
        ("original", "rsr_first_token", {"all": 1, "P1": 1, "P2": 1}),
        ("original", "success", {"all": 1 / 3, "P1": 0, "P2": 1}),
        ("edited", "rsr", {"all": 1 / 3, "P1": 1 / 2, "P2": 0}),
        ("edited", "rsr_first_token", {"all": 0, "P1": 0, "P2": 0}),
        ("edited", "success", {"all": 1 / 3, "P1": 1 / 2, "P2": 0}),
        ("edited", "top1", {"all": 1 / 3, "P1": 1 / 2, "P2": 0}),
        ("edited", "kl", {"all": 3, "P1": 1.5, "P2": 6}),
        ("shared", "rsr", {"all": 1, "P1": 1, "P2": 1}),
        ("shared", "rsr_first_token", {"all": 2 / 3, "P1": 1 / 2, "P2": 1}),
        ("shared", "top1", {"all": 2 / 3, "P1": 1 / 2, "P2": 1}),
        ("shared", "kl", {"all": 1, "P1": 0.5, "P2": 2}),
    ],
)
def test_reversal_by_hand(state, metric, by_relation):
    found = tidy(reversal_measures(reversal_table(), "test", 4, **KEY))
    found = found[(found["state"] == state) & (found["metric"] == metric)]
    assert found.set_index("relation")["value"].to_dict() == pytest.approx(by_relation)
    assert found.set_index("relation")["n"].to_dict() == {"all": 3, "P1": 2, "P2": 1}
    assert (found["ci_low"] <= found["value"]).all() and (found["value"] <= found["ci_high"]).all()


def test_reversal_keeps_its_splits_and_the_pruned_share():
    splits = {"train": reversal_table(), "test": reversal_table().iloc[:3]}
    rows = pruned_measures([({"state": state}, 0.125) for state in ("shared", "random")], 4, **KEY)
    found = tidy(rows + [row for split, table in splits.items() for row in reversal_measures(table, split, 4, **KEY)])
    assert set(zip(found["model"], found["method"], found["seed"], strict=True)) == {("m", "rome", 4)}
    assert set(found.loc[found["split"] == "test", "state"]) == {"original"}
    pruned = one(found, metric="pruned", state="shared")
    assert (pruned["value"], pruned["split"], pruned["relation"]) == (0.125, "all", "all")
    assert math.isnan(pruned["ci_low"])
    assert not found.duplicated(["state", "split", "metric", "relation"]).any()


def test_neighbours_are_averaged_within_their_fact_first():
    rows = [(0, "P1", -1.0, -2.0, True), (0, "P1", -3.0, -2.0, True), (1, "P1", -1.0, -2.0, False)]
    table = pd.DataFrame(rows, columns=["case_id", "relation_id", "logp_true", "logp_new", "top1"]).assign(state="edited")
    found = tidy(neighborhood_measures(table, "test", 0, **KEY))
    value = found[found["relation"] == "all"].set_index("metric")["value"].to_dict()
    assert value == {"neighborhood": 0.75, "neighborhood_top1": 0.5}
    assert set(found["state"]) == {"edited"} and one(found, metric="neighborhood", relation="all")["n"] == 2


def test_perplexity_is_averaged_over_edits():
    table = pd.DataFrame(
        [(-1, "original", math.log(20.0)), (0, "edited", math.log(30.0)), (1, "edited", math.log(50.0))],
        columns=["case_id", "state", "nll"],
    ).assign(tokens=64)
    found = tidy(perplexity_measures(table, 0, **KEY))
    alone, edited = one(found, state="original"), one(found, state="edited")
    assert (alone["value"], alone["n"], edited["value"], edited["n"]) == pytest.approx((20.0, 1, 40.0, 2))
    assert math.isnan(alone["ci_low"]) and math.isnan(alone["ci_high"])
    assert (edited["ci_low"], edited["ci_high"]) == pytest.approx((30.0, 50.0))


def test_blocking_by_hand():
    rows = [
        ("edited", "P1", True, 1.0),
        ("edited", "P2", True, 1.0),
        ("masked", "P1", True, 0.5),
        ("masked", "P1", False, 1.0),
        ("masked", "P2", False, 0.0),
        ("masked_after", "P1", False, 0.99),
    ]
    table = pd.DataFrame(rows, columns=["state", "relation_id", "success", "token_accuracy"])
    plain = dict.fromkeys(("parametrisation", "share", "training_edits"))
    found = tidy(blocking_measures(table, 0, plain, **KEY))
    assert set(found["state"]) == {"edited", "masked", "masked_after"}
    value = found.set_index(["state", "metric", "relation"])["value"].to_dict()
    assert value["edited", "success", "all"] == value["edited", "token_accuracy", "P2"] == 1
    assert value["masked", "success", "all"] == value["masked", "token_accuracy", "all"] == pytest.approx(1 / 3)
    assert (value["masked", "success", "P1"], value["masked", "success", "P2"]) == (0.5, 0)
    assert value["masked_after", "token_accuracy", "all"] == 0
    other = tidy(blocking_measures(table, 0, {"parametrisation": "topk", "share": 0.05}, **KEY))
    own = other["state"] != "edited"  # which is the same beside every mask, and stands once
    assert set(other.loc[own, "parametrisation"]) == {"topk"} and set(other.loc[own, "share"]) == {0.05}
    assert set(other.loc[~own, "parametrisation"]) == {""} and other.loc[~own, "share"].isna().all()
    assert other["value"].equals(found["value"])


BEFORE, AFTER = [0.2, 0.1, 0.4, 0.3, 0.05], [0.9, 0.95, 0.99, 0.25, 0.8]


def confidence_table() -> pd.DataFrame:
    """P(o) before and P(o*) after by case, the edited rows in another order; other columns must not enter."""
    before = pd.DataFrame({"case_id": range(5), "logp_true_first": np.log(BEFORE), "state": "original"})
    after = pd.DataFrame({"case_id": range(5), "logp_new_first": np.log(AFTER), "state": "edited"})
    table = pd.concat([before, after[::-1]], ignore_index=True).assign(logp_true=-9.0, logp_new=-9.0)
    return table.assign(relation_id=np.where(table["case_id"] < 2, "P1", "P2")).fillna(-7.0)


def test_confidence_by_hand_and_by_scipy():
    found = tidy(confidence_measures(confidence_table(), "test", 0, **KEY))
    before, after = np.array(BEFORE), np.array(AFTER)
    expected = {
        "p_original": before.mean(),
        "p_original_sd": before.std(ddof=1),
        "p_edited": after.mean(),
        "p_edited_sd": after.std(ddof=1),
        "cohens_d": (after - before).mean() / (after - before).std(ddof=1),
        "p_value": stats.wilcoxon(after - before, alternative="greater").pvalue,
    }
    value = found[found["relation"] == "all"].set_index("metric")["value"].to_dict()
    assert value == pytest.approx(expected)
    assert value["p_value"] == pytest.approx(2 / 32)  # of the 32 signs of five ranks, two reach a sum of 14
    assert one(found, metric="p_original", relation="P1")["value"] == pytest.approx(0.15)
    assert one(found, metric="p_edited", relation="P2")["n"] == 3


def facts(*rows: tuple) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["relation_id", "subject", "target_true", "target_new"])


def test_facts_are_counted():
    train = facts(("P1", "a", "x", "y"), ("P1", "b", "x", "y"), ("P2", "a", "y", "x"), ("P2", "c", "x", "z"))
    knowledge = pd.DataFrame(
        [("P1", True), ("P1", False), ("P2", False), ("P2", False), ("P1", True)],
        columns=["relation_id", "known"],
    ).assign(split=["train"] * 4 + ["test"])
    splits, leaked = {"train": train, "joint_test": facts(("P1", "a", "x", "y"))}, {"train": 0, "joint_test": 1}
    found = tidy(fact_measures(splits, leaked, knowledge, 0, model="m"))
    part = found[(found["split"] == "train") & (found["relation"] == "all")].set_index("metric")["value"].to_dict()
    expected = {"facts": 4, "relations": 2, "unique_objects": 2, "unique_subjects": 3, "unique_mappings": 3}
    assert part == expected | {"facts_shared_with_training": 0, "facts_dropped": 3, "facts_edited": 1}
    assert one(found, split="train", metric="facts_dropped", relation="P1")["value"] == 1
    assert one(found, split="train", metric="facts_edited", relation="P2")["value"] == 0
    shared = one(found, split="joint_test", metric="facts_shared_with_training")
    assert (shared["value"], shared["method"]) == (1, "")
    assert {row["metric"] for row in fact_measures(splits, leaked, None, 0, model="m")} == set(tables.SAMPLE)
