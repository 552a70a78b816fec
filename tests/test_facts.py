"""Facts: the embedded set, CounterFact's record schema, and splits that share no subject and follow their seed."""

import json
from pathlib import Path

import pandas as pd
import pytest

from onemask import measures
from onemask.errors import OnemaskError
from onemask.facts import (
    embedded_records,
    leaks,
    read_records,
    refuse_leaks,
    released_splits,
    sample_splits,
    shared_with_training,
    to_table,
)
from onemask.schemas import TABLES

EMBEDDED = Path(__file__).resolve().parents[1] / "config" / "datasets" / "embedded"
RELEASED = Path(__file__).resolve().parents[2] / "shared" / "data" / "counterfact"
TEN = ("P103", "P17", "P495", "P176", "P413", "P136", "P30", "P937", "P27", "P1412")
OOD = ("P36", "P37", "P407", "P740", "P641")
SIZES = {"train": 20, "test": 6, "ood": 5, "memit_train": 15, "memit_test": 7}
released_only = pytest.mark.skipif(not RELEASED.is_dir(), reason="the released CounterFact splits are not on this machine")


def embedded() -> tuple[pd.DataFrame, pd.DataFrame]:
    facts = pd.read_csv(EMBEDDED / "facts.csv", dtype=str, keep_default_na=False)
    return facts, pd.read_csv(EMBEDDED / "relations.csv", dtype=str, keep_default_na=False)


def table(seed: int = 0) -> pd.DataFrame:
    return to_table(embedded_records(*embedded(), seed=seed))


def pairs(frame: pd.DataFrame) -> set[tuple[str, str]]:
    return set(zip(frame["relation_id"], frame["subject"], strict=True))


def a_record(case_id: int = 0, prompt: str = "{} is in", subject: str = "Rome") -> dict:
    rewrite = {"prompt": prompt, "subject": subject, "relation_id": "P17"}
    rewrite |= {"target_true": {"str": "Italy"}, "target_new": {"str": "Japan"}}
    texts = {"paraphrase_prompts": ["a", "b"], "neighborhood_prompts": ["c"]}
    return {"case_id": case_id, "requested_rewrite": rewrite, **texts}


def rows(*subjects: str, first: int = 0) -> pd.DataFrame:
    return to_table([a_record(first + i, subject=subject) for i, subject in enumerate(subjects)])


@pytest.mark.parametrize("relation, least", [(name, 80) for name in TEN] + [(name, 25) for name in OOD])
def test_the_embedded_set_holds_enough_facts(relation, least):
    facts, _ = embedded()
    assert (facts["relation"] == relation).sum() >= least


def test_the_embedded_set_holds_no_other_relation_and_no_blank():
    facts, relations = embedded()
    assert set(facts["relation"]) == {*TEN, *OOD} == set(relations["relation"])
    for frame in (facts, relations):
        cells = frame.to_numpy().ravel().tolist()
        assert [text for text in cells if text != text.strip() or not text] == []


def test_the_embedded_subjects_are_distinct():
    facts, _ = embedded()
    assert facts.loc[facts["subject"].duplicated(keep=False), "subject"].tolist() == []


def test_every_embedded_prompt_has_one_place_for_the_subject():
    _, relations = embedded()
    assert relations["relation"].is_unique
    for row in relations.itertuples():
        prompts = (row.prompt, row.paraphrase_1, row.paraphrase_2)
        assert [prompt.count("{}") for prompt in prompts] == [1, 1, 1]
        assert len(set(prompts)) == 3
        assert not row.prompt.startswith("{}")


def test_embedded_records_follow_counterfacts_schema():
    facts, relations = embedded()
    records = embedded_records(facts, relations, seed=3)
    objects = facts.groupby("relation")["object"].agg(set)
    assert [record["case_id"] for record in records] == list(range(len(facts)))
    for record in records:
        rewrite = record["requested_rewrite"]
        true, new = rewrite["target_true"]["str"], rewrite["target_new"]["str"]
        assert new != true and {new, true} <= objects[rewrite["relation_id"]]
        assert len(record["paraphrase_prompts"]) == 2
        assert all(rewrite["subject"] in prompt and "{}" not in prompt for prompt in record["paraphrase_prompts"])


def test_neighbours_share_the_object_and_leave_the_subject_out():
    facts, relations = embedded()
    prompts = relations.set_index("relation")["prompt"]
    seen = 0
    for record in embedded_records(facts, relations, seed=3):
        rewrite = record["requested_rewrite"]
        same = facts[(facts["relation"] == rewrite["relation_id"]) & (facts["object"] == rewrite["target_true"]["str"])]
        near = set(same["subject"]) - {rewrite["subject"]}
        allowed = {prompts[rewrite["relation_id"]].replace("{}", subject) for subject in near}
        found = record["neighborhood_prompts"]
        assert len(set(found)) == len(found) == min(10, len(near))
        assert set(found) <= allowed
        seen += len(found)
    assert seen > len(facts)


def test_every_embedded_fact_is_kept_as_it_stands():
    facts, _ = embedded()
    made = table()[["relation_id", "subject", "target_true"]].itertuples(index=False, name=None)
    assert set(made) == set(facts.itertuples(index=False, name=None))
    assert list(table().columns) == TABLES["facts"].names


def test_embedded_records_follow_their_seed():
    first, again, other = (embedded_records(*embedded(), seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize(
    "facts, named",
    [
        ([("P9", "a", "x"), ("P9", "b", "y")], "prompts for P9"),
        ([("P17", "a", "x"), ("P17", "b", "x")], "two objects or more for P17"),
    ],
)
def test_an_embedded_relation_that_cannot_be_edited_is_refused(facts, named):
    frame = pd.DataFrame(facts, columns=["relation", "subject", "object"])
    with pytest.raises(OnemaskError, match=named):
        embedded_records(frame, embedded()[1], seed=0)


def test_splits_have_the_sizes_asked_for():
    splits = sample_splits(table(), list(TEN[:3]), list(OOD[:2]), SIZES, seed=0)
    for split, frame in splits.items():
        relations = OOD[:2] if split == "ood" else TEN[:3]
        assert frame["relation_id"].value_counts().to_dict() == dict.fromkeys(relations, SIZES[split])
    assert set(splits) == set(SIZES)


def test_splits_of_one_group_share_nothing():
    splits = sample_splits(table(), list(TEN), list(OOD), SIZES | {"train": 50, "test": 30, "memit_train": 60}, seed=0)
    refuse_leaks(splits)
    for held_out, training in (("test", "train"), ("ood", "train"), ("ood", "test"), ("memit_test", "memit_train")):
        assert pairs(splits[held_out]).isdisjoint(pairs(splits[training]))
        assert set(splits[held_out]["case_id"]).isdisjoint(splits[training]["case_id"])


def test_a_subject_that_comes_twice_is_drawn_once():
    frame = pd.concat([table(), table().assign(case_id=lambda facts: facts["case_id"] + 5000)], ignore_index=True)
    splits = sample_splits(frame, ["P17"], [], {"train": 60, "test": 40}, seed=0)
    both = pd.concat(splits.values())
    assert len(pairs(both)) == len(both) == 100


def test_splits_follow_their_seed():
    first, again, other = (sample_splits(table(), list(TEN), list(OOD), SIZES, seed) for seed in (1, 1, 2))
    for split in SIZES:
        pd.testing.assert_frame_equal(first[split], again[split])
        assert pairs(first[split]) != pairs(other[split])


@pytest.mark.parametrize("smaller", [{"ood": 0}, {"memit_train": 0, "memit_test": 0}])
def test_a_split_of_size_zero_is_left_out_and_changes_no_other(smaller):
    whole = sample_splits(table(), list(TEN), list(OOD), SIZES, seed=0)
    fewer = sample_splits(table(), list(TEN), list(OOD), SIZES | smaller, seed=0)
    assert set(fewer) == set(SIZES) - set(smaller)
    for split, frame in fewer.items():
        pd.testing.assert_frame_equal(frame, whole[split])


@pytest.mark.parametrize(
    "relations, ood, sizes, named",
    [
        (["P17"], [], {"train": 90, "test": 40}, "130 facts of P17 for train . test"),
        (["P17"], [], {"train": 5, "test": 5, "memit_train": 200}, "200 facts of P17 for memit_train"),
        (["P17"], ["P37"], {"train": 5, "test": 5, "ood": 99}, "99 facts of P37 for ood"),
        (["P17", "P9999"], [], {"train": 5, "test": 5}, "facts of relation P9999"),
        (["P17", "P30"], ["P37", "P30"], {"train": 5, "test": 5, "ood": 5}, "OOD relations"),
    ],
)
def test_splits_that_cannot_be_drawn_are_refused(relations, ood, sizes, named):
    with pytest.raises(OnemaskError, match=named):
        sample_splits(table(), relations, ood, sizes, seed=0)


@pytest.mark.parametrize(
    "test, found",
    [
        (rows("Lyon", "Rome", first=10), 1),
        (rows("Lyon", "Nice", first=1), 1),
        (rows("Rome", "Oslo", first=0), 2),
        (rows("Lyon", "Nice", first=10), 0),
        (rows("Rome", "Lyon", first=10).assign(relation_id="P30"), 0),
    ],
)
def test_a_planted_leak_is_counted_and_refused(test, found):
    splits = {"train": rows("Rome", "Oslo"), "test": test}
    assert leaks(splits, "test", "train") == found
    assert shared_with_training(splits) == {"train": 0, "test": found}
    if found:
        with pytest.raises(OnemaskError, match="splits that share no fact"):
            refuse_leaks(splits)
    else:
        refuse_leaks(splits)


def test_a_leak_between_two_held_out_splits_is_refused():
    splits = {"train": rows("Rome"), "test": rows("Oslo", first=1), "ood": rows("Oslo", first=2)}
    assert shared_with_training(splits) == {"train": 0, "test": 0, "ood": 0}
    with pytest.raises(OnemaskError, match="splits that share no fact"):
        refuse_leaks(splits)


def test_rome_and_memit_may_share_facts():
    splits = {"train": rows("Rome"), "memit_test": rows("Rome"), "memit_train": rows("Oslo", first=1)}
    refuse_leaks(splits)
    assert shared_with_training(splits) == {"train": 0, "memit_test": 0, "memit_train": 0}


def test_records_come_back_from_json(tmp_path):
    (tmp_path / "facts.json").write_text(json.dumps([a_record(4)]))
    fact = to_table(read_records(tmp_path / "facts.json")).iloc[0].to_dict()
    assert fact == {
        "case_id": 4,
        "relation_id": "P17",
        "subject": "Rome",
        "prompt": "{} is in",
        "target_true": "Italy",
        "target_new": "Japan",
        "paraphrases": ["a", "b"],
        "neighborhood": ["c"],
    }


@pytest.mark.parametrize(
    "content", [b"", b"[{", b"\xff\xfe", b'{"a": 1}', b'[{"case_id": 1}]', b"[1, 2]", b"[null]", b'["requested_rewrite"]']
)
def test_json_that_is_not_counterfact_is_refused(tmp_path, content):
    path = tmp_path / "facts.json"
    path.write_bytes(content)
    with pytest.raises(OnemaskError, match=str(path)):
        read_records(path)


def test_a_missing_file_of_records_is_refused(tmp_path):
    with pytest.raises(OnemaskError, match="no-such.json"):
        read_records(tmp_path / "no-such.json")


@pytest.mark.parametrize("prompt", ["{} is in {}", "Rome is in", ""])
def test_a_prompt_without_exactly_one_place_is_refused(prompt):
    with pytest.raises(OnemaskError, match="exactly once.*See case 7"):
        to_table([a_record(7, prompt)])


def counts_of(splits: dict[str, pd.DataFrame], leaked: dict[str, int]) -> pd.DataFrame:
    found = measures.fact_measures(splits, leaked, None, seed=0, model="-")
    return found.pivot(index="split", columns="metric", values="value")


@released_only
@pytest.mark.parametrize(
    "split, facts, objects, subjects, mappings",
    [
        ("train", 3000, 236, 2986, 1284),
        ("test", 1700, 204, 1697, 866),
        ("memit_train", 1000, 174, 1000, 564),
        ("memit_test", 1000, 172, 1000, 580),
    ],
)
def test_the_released_splits_have_the_papers_counts(split, facts, objects, subjects, mappings):
    splits = released_splits(RELEASED, list(TEN))
    found = counts_of(splits, shared_with_training(splits)).loc[split]
    assert (found["facts"], found["relations"]) == (facts, 10)
    assert (found["unique_objects"], found["unique_subjects"]) == (objects, subjects)
    assert found["unique_mappings"] == mappings


def raw_pairs(kind: str, first: int | None) -> list[tuple[str, str]]:
    """(relation, subject) of the released files, read without the library."""
    found = []
    for relation in TEN:
        for record in json.loads((RELEASED / f"counterfact_{kind}{relation}.json").read_text(encoding="utf-8"))[:first]:
            found.append((relation, record["requested_rewrite"]["subject"]))
    return found


@released_only
def test_the_leak_of_the_released_test_split_is_reported():
    splits = released_splits(RELEASED, list(TEN))
    seen = set(raw_pairs("train", 300))
    expected = sum(pair in seen for pair in raw_pairs("test", None))
    assert expected == 3  # method.md speaks of six: not by (relation, subject) in the facts that the paper used
    assert shared_with_training(splits) == {"train": 0, "test": expected, "memit_train": 0, "memit_test": 0}
    with pytest.raises(OnemaskError, match="3 facts of train in test|facts of test in train"):
        refuse_leaks(splits)


@released_only
def test_a_missing_released_file_is_named(tmp_path):
    with pytest.raises(OnemaskError, match="counterfact_trainP17.json"):
        released_splits(tmp_path, ["P17"])
