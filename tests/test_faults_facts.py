"""Facts and texts that cannot be used, in the pipeline's files and in a user's own: refused before any work, record by record."""

import copy
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

import fetch_corpus
import fetch_counterfact
import prepare_facts
import tiny_model
from faults import ROOT, Ended, onemask, refused, rule

RELATION, WANTED = "P17", {"train": 2, "test": 1}
REWRITE = {"prompt": "The capital of {} is", "relation_id": RELATION, "target_true": {"str": "A"}, "target_new": {"str": "B"}}
RECORDS = [
    {"case_id": i, "requested_rewrite": REWRITE | {"subject": f"S{i}"}, "paraphrase_prompts": ["x"], "neighborhood_prompts": []}
    for i in range(4)
]
EMBEDDED = ROOT / "config" / "datasets" / "embedded"


def prepared(folder: Path, dataset: str, given: dict, **settings: object) -> Ended:
    facts = {"dataset": dataset, "splits": "sampled", "relations": [RELATION], "ood_relations": [], "per_relation": WANTED}
    facts |= {"skip_bad": False}
    output = {"facts": [folder / f"{split}.parquet" for split in WANTED]}
    params = {"facts": facts | settings, "split_names": list(WANTED), "seed": 0}
    return rule(prepare_facts, folder, input=given, output=output, params=params)


def counterfact(folder: Path, content: bytes, **settings: object) -> Ended:
    (folder / "facts.json").write_bytes(content)
    return prepared(folder, "counterfact", {"records": folder / "facts.json"}, **settings)


def with_second(**changes: object) -> bytes:
    """RECORDS whose second lacks a key (None) or has another value; keys of its requested_rewrite have the prefix "r_"."""
    records = copy.deepcopy(RECORDS)
    for key, value in changes.items():
        at = records[1]["requested_rewrite"] if key.startswith("r_") else records[1]
        at[key.removeprefix("r_")] = value
        if value is None:
            del at[key.removeprefix("r_")]
    return json.dumps(records).encode()


def test_good_records_are_taken(tmp_path):
    found = counterfact(tmp_path, with_second())
    assert found.code == 0 and len(found.left) == 2, found.said


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"r_subject": None}, "a fact's keys .* in record 2 of .*facts.json; found no subject"),
        ({"r_target_true": None, "case_id": None}, "a fact's keys in record 2 of .*found no target_true"),
        ({"paraphrase_prompts": None}, "record 2 of .*found no paraphrase_prompts"),
        (
            {"requested_rewrite": None},
            "a fact's keys .* in record 2 of .*; found no prompt, subject, target_new; its keys are .'case_id'",
        ),
        ({"requested_rewrite": []}, r"an object, or a list of them, as requested_rewrite in record 2 of .*; found \[\]"),
        ({"r_target_new": {"str": " "}}, "a text for target_new in record 2 of .*; found ' '"),
        ({"r_target_new": {}}, "a text for target_new in record 2 of .*; found None"),
        ({"r_target_new": {"str": "A "}}, "a target_new other than target_true in record 2 of .*; found 'A' for both"),
        ({"r_subject": 4}, "a text for subject in record 2 of .*; found 4"),
        ({"r_prompt": "The capital is"}, "the subject 'S1' once in the prompt in record 2 of .*; found 0 times"),
        ({"r_prompt": "{} and {}"}, '"{}" once in the prompt in record 2 of .*; found '),
        ({"r_prompt": "The capital of {} \0 is"}, r"a printable text for prompt in record 2 of .*; found U\+0000 in"),
        ({"paraphrase_prompts": ["x \ud83d"]}, "a printable text for paraphrase_prompts in record 2 of .*half a surrogate pair"),
        ({"neighborhood_prompts": ["{} is"]}, "neighbourhood prompts with subjects of their own in record 2"),
        ({"r_target_true": {"str": "<|endoftext|>"}}, "a true object for target_true in record 2 of .*, which stands for none"),
        ({"r_relation_id": ""}, "a text for relation_id in record 2"),
        ({"paraphrase_prompts": "x"}, "a list of texts for paraphrase_prompts in record 2 of .*; found 'x'"),
        ({"neighborhood_prompts": [1]}, r"a list of texts for neighborhood_prompts in record 2 of .*; found \[1\]"),
        ({"case_id": "one"}, "a whole number for case_id in record 2 of .*; found 'one'"),
        ({"case_id": 2**70}, "a whole number for case_id in record 2 of .*; found 1180591620717411303424"),
        ({"case_id": 0}, "a case_id of its own for each fact in record 2 of .*facts.json; found 0 twice, here and in record 1"),
    ],
)
def test_a_bad_record_is_named(tmp_path, changes, message):
    refused(counterfact(tmp_path, with_second(**changes)), message)


def test_bad_records_are_left_out_of_a_run_where_its_file_says_so(tmp_path):
    content = json.dumps([*RECORDS, RECORDS[0] | {"case_id": True}, {}]).encode()
    refused(
        counterfact(tmp_path, content), "records of .*facts.json that can be used; found 2 that cannot. Correct them; .*skip_bad"
    )
    found = counterfact(tmp_path, content, skip_bad=True)
    assert found.code == 0 and len(found.left) == 2, found.said
    assert "2 bad records are left out" in (tmp_path / "job.log").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (with_second()[:100], "JSON at .*facts.json; found .*column"),
        (b"\xff\xfe[]", "facts at .*facts.json: JSON, .*; found a text that begins with"),
        (b"", "a fact in .*facts.json; found an empty file"),
        (b"[]", "a fact in .*facts.json; found none"),
        (b'{"facts": 1}', "a fact's keys .* in record 1 of .*; found no prompt, subject, target_new; its keys are"),
    ],
)
def test_a_file_that_is_not_counterfact_is_named(tmp_path, content, message):
    refused(counterfact(tmp_path, content), message)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"relations": ["P999"]}, r"facts of relation P999; found none. Known: \['P17'\]"),
        ({"per_relation": {"train": 3, "test": 2}}, "5 facts of P17 for train . test; found 4 with distinct subjects. Lower"),
        ({"splits": "released", "released": "/no/such/folder"}, "facts at /no/such/folder/counterfact_trainP17.json"),
    ],
)
def test_facts_that_are_not_there_are_named(tmp_path, settings, message):
    refused(counterfact(tmp_path, with_second(), **settings), message)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("facts.csv", "object", "objekt", "columns relation, subject, object in .*facts.csv; found no object"),
        ("relations.csv", "paraphrase_2", "third", "columns .* in .*relations.csv; found no paraphrase_2"),
        ("relations.csv", "\nP17,", "\nP18,", "prompts for P17; found none. Add the relation"),
        ("facts.csv", "\nP17,", "\nP17,a,b,c,", "a CSV file at .*facts.csv"),
        ("facts.csv", "P17", "P17\udcff", "a CSV file at .*facts.csv; found 'utf-8' codec"),
    ],
)
def test_embedded_facts_that_were_spoilt_are_named(tmp_path, file, old, new, message):
    for name in ("facts.csv", "relations.csv"):
        text = (EMBEDDED / name).read_text(encoding="utf-8")
        assert name != file or old in text
        text = text.replace(old, new, 1) if name == file else text
        (tmp_path / name).write_text(text, encoding="utf-8", errors="surrogateescape")
    given = {name: tmp_path / f"{name}.csv" for name in ("facts", "relations")}
    refused(prepared(tmp_path, "embedded", given), message)


@pytest.mark.parametrize(
    ("path", "sha256", "message"),
    [
        ("/no/such/facts.json", None, "a file at /no/such/facts.json; found .*No such file.*Correct the path"),
        (str(EMBEDDED), None, "a file at .*embedded; found .*Is a directory"),
        (str(EMBEDDED / "facts.csv"), "0" * 64, f"sha256 {'0' * 64} for .*facts.csv"),
        ("file:///no/such/facts.json", None, "a file at file:///no/such/facts.json"),
    ],
)
def test_counterfact_that_cannot_be_had_is_named(tmp_path, path, sha256, message):
    params, output = {"path": path, "sha256": sha256}, {"records": tmp_path / "records.json"}
    refused(rule(fetch_counterfact, tmp_path, output=output, params=params), message)


def corpus(folder: Path, source: dict) -> Ended:
    return rule(fetch_corpus, folder, output={"corpus": folder / "out.parquet"}, params={"source": source | {"part": "both"}})


CORPORA = {
    "missing.txt": (None, "a corpus at .*missing.txt; found .*No such file.*Correct `path`"),
    "latin.txt": ("é".encode("latin-1"), "a corpus at .*latin.txt; found 'utf-8' codec"),
    "empty.txt": (b"\n\n \n\n", "a corpus of one text at least; found none"),
    "text.parquet": (b"text", "a corpus at .*text.parquet"),
    "other.parquet": (pd.DataFrame({"body": ["a"]}).to_parquet(), "a corpus at .*other.parquet; found .*text"),
    "none.parquet": (pd.DataFrame({"text": ["a", None]}).to_parquet(), "texts in .*none.parquet; found other values"),
    "numbers.parquet": (pd.DataFrame({"text": [1, 2]}).to_parquet(), "texts in .*numbers.parquet; found other values"),
}


@pytest.mark.parametrize("name", CORPORA)
def test_a_bad_corpus_is_named(tmp_path, name):
    content, message = CORPORA[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    refused(corpus(tmp_path, {"path": str(tmp_path / name)}), message)


@pytest.mark.parametrize("error", [ConnectionError("no network"), FileNotFoundError("no such dataset"), ValueError("no split")])
def test_a_corpus_that_the_hub_does_not_give_is_named(tmp_path, error, monkeypatch):
    def load_dataset(*_, **__):
        raise error

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    source = {"hub": "someone/wiki", "name": "en", "split": "train", "revision": "main"}
    refused(corpus(tmp_path, source), rf"texts of someone/wiki \(en, train\) at revision main; found {error}.* Check the network")


FACT = {"prompt": "The country where {} is located is", "subject": "Kyoto", "target_new": "France", "target_true": "Japan"}


@pytest.mark.parametrize(
    ("fact", "message"),
    [
        (b"not json", "facts at .*facts.jsonl: JSON, .*; found a text that begins with 'not json'"),
        (b"[1", "JSON at .*facts.jsonl"),
        pytest.param(b"[" * 100_000, "JSON at .*facts.jsonl; found lists or objects nested", id="too deep"),
        (b"", "a fact in .*facts.jsonl; found an empty file"),
        (b"\xff", "facts at .*facts.jsonl in UTF-8; found 'utf-8' codec"),
        (
            {"prompt": "The capital of France is"},
            "a fact's keys .* in record 1 of .*; found no subject, target_new; its keys are",
        ),
        (FACT | {"prompt": "The capital is"}, "the subject 'Kyoto' once in the prompt in record 1 .*; found 0 times"),
        (FACT | {"prompt": "Kyoto or Kyoto is in"}, "the subject 'Kyoto' once in the prompt in record 1 .*; found 2 times"),
        (FACT | {"prompt": "{} or {} is in"}, '"{}" once in the prompt in record 1'),
        (FACT | {"case_id": "first"}, "a whole number for case_id in record 1 of .*; found 'first'"),
        ([3], "a JSON object in record 1 of .*; found int"),
        ({"requested_rewrite": "prompt"}, "an object, or a list of them, as requested_rewrite in record 1 of .*; found 'prompt'"),
        (FACT | {"target_new": "Japan"}, "a target_new other than target_true in record 1 of .*; found 'Japan' for both"),
        (FACT | {"target_new": ""}, "a text for target_new in record 1"),
        (FACT | {"paraphrase_prompts": "one"}, "a list of texts for paraphrase_prompts in record 1"),
        ([FACT, FACT | {"case_id": 0}], "a case_id of its own for each fact in record 2 of .*; found 0 twice"),
        (FACT | {"subject": "Kyoto " * 80}, "a text about .* of at most 64 tokens in case .*; found"),
    ],
)
def test_a_bad_fact_of_ones_own_is_named(tmp_path, fact, message):
    facts, out = tmp_path / "facts.jsonl", tmp_path / "edits.parquet"
    facts.write_bytes(fact if isinstance(fact, bytes) else json.dumps(fact).encode())
    arguments = ["--model", tiny_model.make(), "--facts", facts, "--layer", 0, "--out", out]
    refused(onemask(tmp_path, "edit", *arguments), message)
