"""Facts: the embedded set, its expansion into CounterFact records, strata without leaks, and the released splits."""

import json
from pathlib import Path

import pandas as pd
import pytest

from onemask.data import counterfact as records
from onemask.data import facts
from onemask.io.errors import OnemaskError
from onemask.summaries.measures import fact_measures

ROOT = Path(__file__).resolve().parent.parent
EMBEDDED = ROOT / "config" / "datasets" / "embedded"
RELEASED = ROOT.parent / "shared" / "data" / "counterfact"
TEN = ["P103", "P17", "P495", "P176", "P413", "P136", "P30", "P937", "P27", "P1412"]
OTHERS = ["P36", "P37", "P407", "P740", "P641"]
SIZES = {"train": 20, "test": 8, "ood": 10, "joint_train": 12, "joint_test": 6}


@pytest.fixture(scope="module")
def embedded() -> pd.DataFrame:
    return pd.read_csv(EMBEDDED / "facts.csv", dtype=str, keep_default_na=False)


@pytest.fixture(scope="module")
def prompts() -> pd.DataFrame:
    return pd.read_csv(EMBEDDED / "relations.csv", dtype=str)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return records.embedded_facts(EMBEDDED / "facts.csv", EMBEDDED / "relations.csv", seed=0)


def test_the_embedded_set_is_large_and_its_subjects_distinct(embedded, prompts):
    counts = embedded["relation"].value_counts()
    assert all(counts[relation] >= 80 for relation in TEN) and all(counts[relation] >= 25 for relation in OTHERS)
    assert not embedded["subject"].str.lower().duplicated().any()
    for row in prompts.itertuples():
        assert all(text.count("{}") == 1 for text in (row.prompt, row.paraphrase_1, row.paraphrase_2))
        assert not row.prompt.startswith("{}")


def test_records_follow_counterfact(embedded, prompts):
    objects = embedded.groupby("relation")["object"].agg(set)
    home = embedded.set_index("subject")["object"]
    for record in records.embedded_records(embedded, prompts, seed=0):
        rewrite = record["requested_rewrite"]
        true, new = rewrite["target_true"]["str"], rewrite["target_new"]["str"]
        assert new != true and new in objects[rewrite["relation_id"]] and len(record["paraphrase_prompts"]) == 2
        before, after = rewrite["prompt"].split("{}")
        neighbours = [text.removeprefix(before).removesuffix(after) for text in record["neighborhood_prompts"]]
        assert rewrite["subject"] not in neighbours and all(home[name] == true for name in neighbours)


def test_records_depend_on_the_seed_alone(embedded, prompts):
    first, again, other = (records.embedded_records(embedded, prompts, seed) for seed in (0, 0, 1))
    assert first == again and first != other


def test_strata_have_their_sizes_and_share_no_subject(table):
    splits = facts.sample_splits(table, TEN, OTHERS, SIZES, seed=0)
    facts.refuse_leaks(splits)
    for split, frame in splits.items():
        assert set(frame.groupby("relation_id").size()) == {SIZES[split]}
        assert set(frame["relation_id"]) == set(OTHERS if split == "ood" else TEN)
    again, other = (facts.sample_splits(table, TEN, OTHERS, SIZES, seed) for seed in (0, 1))
    assert splits["train"].equals(again["train"]) and not splits["train"].equals(other["train"])


@pytest.mark.parametrize(
    ("relations", "ood", "sizes", "message"),
    [
        (["P999"], [], {"train": 1, "test": 1}, "facts of relation P999"),
        (["P17"], ["P17"], {"train": 1, "test": 1, "ood": 1}, "'P17'. in both lists"),
        (["P17"], [], {"train": 100, "test": 50}, "150 facts of P17 for train . test; found 105"),
        (["P17"], ["P37"], {"train": 1, "test": 1, "ood": 99}, "99 facts of P37"),
    ],
)
def test_impossible_strata_are_refused(table, relations, ood, sizes, message):
    with pytest.raises(OnemaskError, match=message):
        facts.sample_splits(table, relations, ood, sizes, seed=0)


def test_a_planted_leak_is_refused_and_counted(table):
    splits = facts.sample_splits(table, TEN, OTHERS, SIZES, seed=0)
    splits["test"] = pd.concat([splits["test"], splits["train"].iloc[:2].assign(case_id=[-1, -2])], ignore_index=True)
    with pytest.raises(OnemaskError, match="2 facts of test in train"):
        facts.refuse_leaks(splits)
    assert facts.shared_with_training(splits) == dict.fromkeys(splits, 0) | {"test": 2}


def test_a_joint_split_with_a_conflict_is_refused(table):
    splits = facts.sample_splits(table, TEN, OTHERS, SIZES, seed=0)
    facts.refuse_conflicts(splits)
    joint = splits["joint_train"]
    joint.loc[1, ["prompt", "subject"]] = joint.loc[0, ["prompt", "subject"]]
    with pytest.raises(
        OnemaskError, match="one new object for a prompt and subject in a joint edit in case .* of the split joint_train"
    ):
        facts.refuse_conflicts(splits)
    facts.refuse_conflicts({"train": joint})  # single edits


def test_counterfact_json_is_read_unchanged(embedded, prompts, table, tmp_path):
    path = tmp_path / "counterfact.json"
    path.write_text(json.dumps(records.embedded_records(embedded, prompts, seed=0)))
    pd.testing.assert_frame_equal(records.read_counterfact(path), table)


PRINTED = {
    "train": (3000, 10, 236, 2986, 1284),
    "test": (1700, 10, 204, 1697, 866),
    "joint_train": (1000, 10, 174, 1000, 564),
    "joint_test": (1000, 10, 172, 1000, 580),
}


@pytest.mark.skipif(not RELEASED.is_dir(), reason="the authors' split files are not beside this checkout")
def test_released_splits_give_tables_4_and_5_as_printed():
    splits = facts.released_splits(RELEASED, TEN)
    facts.refuse_conflicts(splits)  # there are none
    measured = pd.DataFrame(fact_measures(splits, facts.shared_with_training(splits), None, 0, model="any"))
    for split, numbers in PRINTED.items():
        part = measured[measured["split"] == split].set_index("metric")["value"]
        metrics = ["facts", "relations", "unique_objects", "unique_subjects", "unique_mappings"]
        assert tuple(part[metrics]) == numbers, split
    seen = set(zip(splits["train"]["relation_id"], splits["train"]["subject"], strict=True))
    leaked = [pair in seen for pair in zip(splits["test"]["relation_id"], splits["test"]["subject"], strict=True)]
    assert 0 < sum(leaked) == facts.shared_with_training(splits)["test"]


@pytest.mark.skipif(not RELEASED.is_dir(), reason="the authors' split files are not beside this checkout")
def test_less_of_the_released_splits_is_their_beginning():
    whole, less = (facts.released_splits(RELEASED, TEN, first) for first in (None, {"train": 7, "joint_test": 3}))
    assert {name: len(split) for name, split in less.items()} == {
        "train": 70,
        "test": 1700,
        "joint_train": 1000,
        "joint_test": 30,
    }
    beginning = whole["train"].groupby("relation_id").head(7)
    assert sorted(less["train"]["case_id"]) == sorted(beginning["case_id"])
    with pytest.raises(OnemaskError, match="200 facts a relation in the released split test; found 170 of P"):
        facts.released_splits(RELEASED, TEN, {"test": 200})
