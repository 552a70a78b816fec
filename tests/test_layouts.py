"""What records of people's facts files mean, layout by layout, and what is said of one that none fits."""

import json
from pathlib import Path

import pandas as pd
import pytest

from onemask.data.layouts import LAYOUTS
from onemask.data.read_facts import COLUMNS, OF_A_RUN, read_facts
from onemask.io.errors import OnemaskError
from onemask.io.problems import Problems

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "tests" / "data" / "facts"
CAPITAL = {"prompt": "The capital of {} is", "subject": "Norway", "target_new": "Lima", "target_true": "Oslo"}
NOTHING_MORE = {"relation_id": "", "target_true": "", "paraphrases": [], "neighborhood": []}
GRIEG = NOTHING_MORE | {"subject": "Edvard Grieg", "target_new": "Lima"}
# the facts of each sample
MEANT = {
    "counterfact": [
        {
            "case_id": 21, "relation_id": "P1376", "prompt": "{} is the capital of", "subject": "Oslo", "target_new": "Peru",
            "target_true": "Norway", "paraphrases": ["He went home. Oslo governs"],
            "neighborhood": ["Bergen lies in", "Tromsø lies in"],
        },
    ],
    "plain": [
        NOTHING_MORE | CAPITAL | {"case_id": 0},
        NOTHING_MORE | {"case_id": 1, "prompt": "{} borders", "subject": "Norway", "target_new": "Chile"},
    ],
    "easyedit": [NOTHING_MORE | CAPITAL | {"case_id": 4, "paraphrases": ["Norway is governed from"]}],
    "knowedit": [
        GRIEG | {"case_id": 0, "prompt": "Where was {} born?", "target_true": "Bergen",
                 "paraphrases": ["In which town was Edvard Grieg born?"]},
        GRIEG | {"case_id": 1, "prompt": "The birthplace of {} is", "target_new": "Cusco"},
    ],
    "wikibio": [
        GRIEG | {"case_id": 0, "prompt": "This is a page about {}. He wrote music.", "subject": "edvard grieg",
                 "target_new": "He was born in Lima."},
    ],
    "zsre": [
        GRIEG | {"case_id": 0, "prompt": "In which town was {} born?", "paraphrases": ["Where was Edvard Grieg born?"]},
    ],
    "mquake": [
        GRIEG | {"case_id": 0, "relation_id": "P19", "prompt": "{} was born in", "target_true": "Bergen",
                 "paraphrases": ["Where was Edvard Grieg born?"]},
        {"case_id": 1, "relation_id": "P17", "prompt": "{} lies in", "subject": "Lima", "target_new": "Chile",
         "target_true": "Peru", "paraphrases": ["In which country is Lima?"], "neighborhood": []},
        {"case_id": 2, "relation_id": "P1412", "prompt": "{} speaks", "subject": "Jens", "target_new": "French",
         "target_true": "Norwegian", "paraphrases": ["Which language does Jens speak?"], "neighborhood": []},
    ],
}  # fmt: skip


def facts_in(path: Path, *, skip: bool = False, needed: tuple[str, ...] = ()) -> pd.DataFrame:
    problems = Problems(path, skip)
    table = read_facts(path, problems, needed)
    problems.settle(len(table))
    return table


def written(folder: Path, *records: object) -> Path:
    path = folder / "facts.jsonl"
    path.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", MEANT)
def test_a_layout_is_read_as_it_is_meant(name):
    table = facts_in(SAMPLES / f"{name}.json")
    assert table.to_dict("records") == [{column: fact[column] for column in COLUMNS} for fact in MEANT[name]]


def test_every_layout_has_a_sample_and_a_line_in_the_docs():
    samples = {path.stem: json.loads(path.read_text(encoding="utf-8"))[0] for path in SAMPLES.glob("*.json")}
    assert set(samples) == {*MEANT, "rippleedits"}
    page = (ROOT / "docs" / "facts.md").read_text(encoding="utf-8")
    for layout in LAYOUTS:
        assert any(set(layout.keys) <= set(record) for record in samples.values()), layout.name
        assert layout.name.split()[0].rstrip(",") in page


def test_layouts_may_be_mixed_and_numbers_go_on_behind_several_facts_of_one_record(tmp_path):
    records = [json.loads((SAMPLES / f"{name}.json").read_text(encoding="utf-8"))[0] for name in ("mquake", "plain", "zsre")]
    assert facts_in(written(tmp_path, *records))["case_id"].tolist() == [0, 1, 2, 3]


def test_ripple_edits_is_named():
    with pytest.raises(OnemaskError, match="record 1 of .*rippleedits.json; found RippleEdits' layout, which names subject"):
        facts_in(SAMPLES / "rippleedits.json")


def test_an_entry_of_a_record_of_several_facts_is_named_and_the_others_stand(tmp_path):
    record = json.loads((SAMPLES / "mquake.json").read_text(encoding="utf-8"))[0]
    first, second = record["requested_rewrite"]
    record["requested_rewrite"] = [first, second | {"subject": " "}, 3, {"entity": "Lima"} | first | {"subject": None}, second]
    path = written(tmp_path, record)
    with pytest.raises(OnemaskError) as caught:
        facts_in(path)
    places = [line.split(":")[0].strip() for line in str(caught.value).splitlines()[1:]]
    assert places == ["record 1, entry 2", "record 1, entry 3", "record 1, entry 4"]
    assert "Rename entity to subject" in str(caught.value)
    assert facts_in(path, skip=True)["case_id"].tolist() == [0, 4]


def test_a_run_takes_what_has_all_that_it_needs_and_names_what_has_not():
    assert len(facts_in(SAMPLES / "counterfact.json", needed=OF_A_RUN)) == 1
    assert len(facts_in(SAMPLES / "mquake.json", needed=OF_A_RUN)) == 3
    with pytest.raises(OnemaskError, match="a fact's keys in record 1 of .*; found no relation_id, target_true"):
        facts_in(SAMPLES / "zsre.json", needed=OF_A_RUN)


PLAIN = {"prompt": "The capital of {} is", "subject": "Norway", "target_new": "Lima"}


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"prompt": "{} is", "subject": "a", "answer": "b"}, r"found no target_new; .*'answer'.* Rename answer to target_new"),
        ({"question": "{} is", "entity": "a", "target_new": "b"}, "Rename question to prompt. Rename entity to subject"),
        ({"Prompt": "{} is", "subject": "a", "target_new": "b"}, "found no prompt; .* Rename Prompt to prompt"),
        ({"facts": [{"prompt": "x"}]}, "found no prompt, subject, target_new; .*The list in facts may be the facts"),
        ({"subject": "Grieg", "src": "Grieg is", "alt": "x"}, r"nearest layout: zsRE of MEMIT.*found no answers"),
        ({}, "found no prompt, subject, target_new; it is empty"),
        (None, "a JSON object in record 1 of .*; found NoneType"),
        ([PLAIN], "a JSON object in record 1 of .*; found list"),
        ("text", "a JSON object in record 1 of .*; found str"),
        (PLAIN | {"target_ture": "Oslo"}, "target_true under a name that is known in record 1 of .*; found target_ture"),
        (PLAIN | {"paraphrase_prompt": ["x"]}, "found paraphrase_prompt. Rename paraphrase_prompt to paraphrase_prompts"),
        (PLAIN | {"original": "Oslo"}, "found original. Rename original to target_true"),
        (PLAIN | {"target_true": "Oslo", "ground_truth": "Bergen"}, "one of target_true and ground_truth in .*; found both"),
        (PLAIN | {"target_new": {"id": "Q1"}}, "a text for target_new in record 1 of .*; found None"),
        (PLAIN | {"target_new": ["Lima"]}, r"a text for target_new in record 1 of .*; found \['Lima'\]"),
        (PLAIN | {"target_true": 7}, "a text for target_true in record 1 of .*; found 7"),
        (PLAIN | {"target_true": float("nan")}, "a text for target_true in record 1 of .*; found nan"),
        (PLAIN | {"relation_id": 17}, "a text for relation_id in record 1 of .*; found 17"),
        (PLAIN | {"rephrase": [None]}, "a list of texts for paraphrase_prompts in record 1"),
        (PLAIN | {"neighborhood_prompts": [{"target": "x"}]}, "a list of texts for neighborhood_prompts in record 1"),
        ({"requested_rewrite": []}, "as requested_rewrite in record 1"),
        ({"requested_rewrite": [3, PLAIN]}, "an object for each entry of requested_rewrite in record 1, entry 1 .*; found 3"),
        ({"subject": "Grieg", "src": "Grieg is", "answers": []}, "a text for target_new in record 1 of .*; found None"),
    ],
)  # fmt: skip
def test_a_record_that_fits_no_layout_or_contradicts_itself_is_named(tmp_path, record, message):
    with pytest.raises(OnemaskError, match=message):
        facts_in(written(tmp_path, [record]))


@pytest.mark.parametrize(
    "more",
    [
        {"target_true": None},
        {"target_true": ""},
        {"target_true": {"str": "<|endoftext|>"}},
        {"ground_truth": []},
        {"target_true": " </s>"},
    ],
)
def test_no_true_object_is_known_where_none_is_given(tmp_path, more, caplog):
    assert facts_in(written(tmp_path, PLAIN | more))["target_true"].tolist() == [""]
    assert "record 1: no true object is known; such a fact is judged by what the model predicts" in caplog.text


@pytest.mark.parametrize(("value", "case"), [(7, 7), (7.0, 7), ("7", 7), (" -7.0", -7), (None, 0), (-(2**63), -(2**63))])
def test_a_case_id_is_a_whole_number_however_it_is_written(tmp_path, value, case):
    assert facts_in(written(tmp_path, PLAIN | {"case_id": value}))["case_id"].tolist() == [case]


@pytest.mark.parametrize(
    "value", [True, False, 1.5, "seven", "7.5", "", "٧", 2**63, 1e300, float("nan"), float("inf"), [7], {"str": "7"}]
)
def test_what_is_no_whole_number_is_no_case_id(tmp_path, value):
    with pytest.raises(OnemaskError, match="a whole number for case_id in record 1"):
        facts_in(written(tmp_path, PLAIN | {"case_id": value}))


def test_every_case_id_that_stands_twice_is_named(tmp_path):
    path = written(tmp_path, *(PLAIN | {"case_id": case} for case in (1, 2, 1, 2.0, 3)))
    with pytest.raises(
        OnemaskError, match=r"found 2 that cannot(.|\n)*record 3: .*1 twice, here and in record 1(.|\n)*record 4: .*2"
    ):
        facts_in(path)
    assert facts_in(path, skip=True)["case_id"].tolist() == [1, 2, 3]


def test_of_several_names_for_one_part_the_first_counts(tmp_path):
    more = {"relation_id": "P36", "relation": "capital", "rephrase": "one", "paraphrase_prompts": ["two"]}
    (row,) = facts_in(written(tmp_path, PLAIN | more)).to_dict("records")
    assert (row["relation_id"], row["paraphrases"]) == ("P36", ["two"])
    assert facts_in(written(tmp_path, PLAIN | {"target_true": "Oslo", "ground_truth": ["Oslo"]}))["target_true"].tolist() == [
        "Oslo"
    ]


def test_keys_that_are_not_ours_are_passed_over(tmp_path):
    more = {
        "note": "x",
        "score": float("nan"),
        "locality": {"a": [1]},
        "huge": 10**400,
        "neighborhood_prompts": [{"prompt": "He", "target": " x"}],
    }
    assert facts_in(written(tmp_path, PLAIN | more))["neighborhood"].tolist() == [["He"]]
