"""A fact's texts: composed, without blanks that would be tokens of their own, printable; and the subject's place in a prompt."""

import json
import unicodedata

import pytest

from onemask.data.conflicts import without_conflicts
from onemask.data.subject_place import with_place
from onemask.io.errors import OnemaskError
from onemask.io.placeholder import fill
from onemask.io.problems import Problems
from test_layouts import PLAIN, facts_in, written


def test_a_letter_and_its_accent_are_one_text_however_they_are_typed(tmp_path):
    decomposed = unicodedata.normalize("NFD", "Çatalhöyük")
    assert decomposed != "Çatalhöyük"
    fact = PLAIN | {"prompt": "The river of Çatalhöyük is", "subject": decomposed, "rephrase": f"At {decomposed} flows"}
    (row,) = facts_in(written(tmp_path, fact)).to_dict("records")
    assert (row["subject"], row["prompt"], row["paraphrases"]) == ("Çatalhöyük", "The river of {} is", ["At Çatalhöyük flows"])
    with pytest.raises(OnemaskError, match="a target_new other than target_true"):
        facts_in(written(tmp_path, PLAIN | {"target_new": "Malmö", "target_true": "Malmo\u0308"}))


@pytest.mark.parametrize("blank", [" ", "\n", "\t", "\u00a0", "\u200b", "\ufeff", "\u3000", "\u2028", " \u200b\n "])
def test_blanks_at_the_ends_of_names_and_of_prompts_are_left_out_and_named(tmp_path, blank, caplog):
    around = {key: f"{blank}{PLAIN[key]}{blank}" for key in ("subject", "target_new")}
    more = {"prompt": f"{PLAIN['prompt']}{blank}", "paraphrase_prompts": [f"x{blank}"], "relation_id": f"P36{blank}"}
    (row,) = facts_in(written(tmp_path, PLAIN | around | more)).to_dict("records")
    assert {key: row[key] for key in PLAIN} == PLAIN
    assert row["paraphrases"] == ["x"] and row["relation_id"] == "P36"
    assert caplog.text.count("record 1: blanks") == 2


def test_blanks_within_and_before_a_prompt_stay(tmp_path, caplog):
    prompt = "\n Q: What is  {}'s\u00a0capital?\nA:"
    assert facts_in(written(tmp_path, PLAIN | {"prompt": prompt}))["prompt"].tolist() == [prompt]
    assert ": blanks" not in caplog.text


def test_a_line_of_the_log_counts_what_it_names(tmp_path, caplog):
    facts_in(written(tmp_path, *[PLAIN | {"subject": f" S{number}", "target_true": "Oslo"} for number in range(9)]))
    (line,) = caplog.messages
    assert "record 1, record 2, record 3, record 4, record 5 and 4 more: blanks at the ends" in line


@pytest.mark.parametrize(
    "key", ["prompt", "subject", "target_new", "target_true", "relation_id", "rephrase", "neighborhood_prompts"]
)
@pytest.mark.parametrize("bad", ["\ud83d", "\0", "\x1b", "\x7f", "\x9f"])
def test_what_cannot_be_printed_is_named_with_record_and_key(tmp_path, key, bad):
    text = f"a {bad} {PLAIN.get(key, 'b')}"
    named = {"rephrase": "paraphrase_prompts"}.get(key, key)
    path = tmp_path / "facts.json"  # as a list, which JSON may hold in ASCII alone
    path.write_text(json.dumps([PLAIN, PLAIN | {key: [text] if key == "neighborhood_prompts" else text}]), encoding="ascii")
    with pytest.raises(OnemaskError, match=rf"a printable text for {named} in record 2 of .*; found U\+{ord(bad):04X}") as caught:
        facts_in(path)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("end", ["\n", "\t", "\r", "\u2028", "\x85"])
def test_a_name_holds_no_end_of_line_which_a_prompt_may(tmp_path, end):
    with pytest.raises(OnemaskError, match="a printable text for subject in record 1"):
        facts_in(written(tmp_path, PLAIN | {"subject": f"Nor{end}way"}))


@pytest.mark.parametrize(
    ("prompt", "subject", "placed"),
    [
        ("The capital of Norway is", "Norway", "The capital of {} is"),
        ("The Koreans of Korea speak", "Korea", "The Koreans of {} speak"),
        ("Norway's capital is", "Norway", "{}'s capital is"),
        ("The Franco-German border of Franco is", "German", "The Franco-{} border of Franco is"),
        ("日本の首都は", "日本", "{}の首都は"),
        ("한국의 수도는", "한국", "{}의 수도는"),
        ("C++ was made by", "C++", "{} was made by"),
        ("(Oslo) is in", "Oslo", "({}) is in"),
        ("{} is the capital; Oslo", "Oslo", "{} is the capital; Oslo"),
        ("{}s are from", "Korean", "{}s are from"),
    ],
)
def test_a_subject_stands_at_its_place_or_as_a_whole_word(prompt, subject, placed):
    assert with_place(prompt, subject) == placed
    assert "{}" in prompt or fill(placed, subject) == prompt


@pytest.mark.parametrize(
    ("prompt", "subject", "message"),
    [
        ("The language of the Koreans is", "Korea", "found it inside the longer word 'Koreans'"),
        ("Осло: столица Норвегии", "Норвег", "found it inside the longer word 'Норвегии'"),
        ("Engine 170 was built by", "Engine 17", "found it inside the longer word 'Engine 170'|'170'"),
        ("The North Korean is", "Korea", "inside the longer word 'Korean'"),
        ("a caf\u0065\u0328 is", "cafe", "inside the longer word"),
        ("Oslo and Oslo are", "Oslo", "once in the prompt; found 2 times"),
        ("The capital of Norway is", "norway", "found 0 times in .*Did you mean 'Norway'"),
        ("The capital of New\u00a0York is", "New York", r"found 0 times in .*Did you mean 'New\\xa0York'"),
        ("The capital is", "Norway", "found 0 times in 'The capital is'. Write \"{}\" once"),
        ("{} and {}", "Norway", '"{}" once in the prompt; found'),
        ("The {} is", "a {} b", 'a subject without "{}"; found'),
        ("The a {} b is", "a {} b", 'a subject without "{}"; found'),
    ],
)
def test_a_subject_without_one_place_is_refused(prompt, subject, message):
    with pytest.raises(OnemaskError, match=message):
        with_place(prompt, subject)


def test_a_place_is_filled_once():
    assert fill("The author of {} is", "{} and {}") == "The author of {} and {} is"
    for text in ("The author is", "{} and {}"):
        with pytest.raises(OnemaskError, match='a prompt with "{}" exactly once'):
            fill(text, "Emma")


def test_paraphrases_may_hold_the_place(tmp_path):
    fact = PLAIN | {"paraphrase_prompts": ["{} is governed from", "Norway's capital is"]}
    assert facts_in(written(tmp_path, fact))["paraphrases"].tolist() == [["Norway is governed from", "Norway's capital is"]]
    with pytest.raises(OnemaskError, match='a prompt with "{}" exactly once in record 1'):
        facts_in(written(tmp_path, PLAIN | {"rephrase": "{} and {}"}))


CONFLICTS = [
    PLAIN | {"target_true": "Oslo"},
    PLAIN | {"target_true": "Oslo", "target_new": "Prague"},
    PLAIN | {"target_true": "Tokyo", "subject": "Japan"},
    PLAIN | {"target_true": "Tokyo", "subject": "Japan", "prompt": "The capital of Japan is "},
    PLAIN | {"target_true": "Tokyo", "subject": "Japan", "prompt": "{} lies in"},
]


def test_conflicts_and_duplicates_of_a_joint_edit_are_all_named_or_all_but_the_first_left_out(tmp_path, caplog):
    facts = facts_in(written(tmp_path, *CONFLICTS))
    problems = Problems("facts.jsonl")
    left = without_conflicts(facts, problems, joint=True)
    assert left["case_id"].tolist() == [0, 2, 4]
    with pytest.raises(OnemaskError, match=r"case 1: .*'Prague' for .*case 0 has 'Lima'(.|\n)*case 3: .*found case 2 again"):
        problems.settle(len(left))


def test_single_edits_do_not_meet(tmp_path, caplog):
    facts = facts_in(written(tmp_path, *CONFLICTS))
    problems = Problems("facts.jsonl")
    assert without_conflicts(facts, problems, joint=False) is facts and not problems.found
    assert "2 facts repeat or contradict earlier ones: case 1 has 'Prague'" in caplog.text
    caplog.clear()
    without_conflicts(facts.iloc[[0, 2, 4]], problems, joint=False)
    assert not caplog.text
