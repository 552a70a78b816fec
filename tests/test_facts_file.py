"""Facts are read from any known format, told by the file's content; what is something else is named as what it is."""

import gzip
import json

import pandas as pd
import pytest

from onemask.data.read_facts import read_facts
from onemask.data.schemas import FACTS
from onemask.editors.schemas import EDITS
from onemask.io.errors import OnemaskError
from onemask.io.files import write_table
from onemask.io.problems import Problems
from test_layouts import facts_in

RECORDS = [
    {"prompt": "The capital of {} is", "subject": "Côte d'Ivoire", "target_new": "Lima", "target_true": "Yamoussoukro"},
    {"prompt": "{}, a town in", "subject": "東京", "target_new": "Peru, \"the\" land", "target_true": "Japan", "case_id": 9,
     "paraphrase_prompts": ["one", "two, three"]},
]  # fmt: skip
LINES = "\n".join(json.dumps(record, ensure_ascii=False) for record in RECORDS)
TABLE = pd.DataFrame(RECORDS)
CSV = TABLE.assign(
    paraphrase_prompts=[None, json.dumps(RECORDS[1]["paraphrase_prompts"])],
    case_id=[None, "9"],
)


def parquet(table: pd.DataFrame) -> bytes:
    return table.to_parquet(index=False)


FORMATS = {
    "list": json.dumps(RECORDS).encode(),
    "pretty list": json.dumps(RECORDS, indent=2, ensure_ascii=False).encode(),
    "lines": LINES.encode(),
    "lines of Windows": LINES.replace("\n", "\r\n").encode(),
    "lines with blank ones": f"\n{LINES}\n\n".encode().replace(b"}\n{", b"}\n\n \n{"),
    "mark of UTF-8": LINES.encode("utf-8-sig"),
    "UTF-16": LINES.encode("utf-16"),
    "big-endian UTF-16": b"\xfe\xff" + LINES.encode("utf-16-be"),
    "UTF-32": LINES.encode("utf-32"),
    "gzip": gzip.compress(LINES.encode()),
    "gzip of a list in UTF-16": gzip.compress(json.dumps(RECORDS).encode("utf-16")),
    "Parquet": parquet(TABLE),
    "gzip of Parquet": gzip.compress(parquet(TABLE)),
    "CSV": CSV.to_csv(index=False).encode(),
    "CSV with a mark": CSV.to_csv(index=False).encode("utf-8-sig"),
    "CSV of Windows": CSV.to_csv(index=False, lineterminator="\r\n").encode(),
    "CSV with an index": CSV.to_csv().encode(),
    "TSV": CSV.to_csv(index=False, sep="\t").encode(),
    "CSV with semicolons": CSV.to_csv(index=False, sep=";").encode("utf-16"),
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_told_by_the_content(tmp_path, name):
    path = tmp_path / "facts.txt"
    path.write_bytes(FORMATS[name])
    table = facts_in(path)
    assert table["subject"].tolist() == ["Côte d'Ivoire", "東京"] and table["case_id"].tolist() == [0, 9]
    assert table["target_new"].tolist() == ["Lima", 'Peru, "the" land']
    assert table["paraphrases"].tolist() == [[], ["one", "two, three"]]


def test_one_object_is_one_fact_also_over_several_lines(tmp_path):
    (tmp_path / "f.json").write_text(json.dumps(RECORDS[0], indent=1), encoding="utf-8")
    assert len(facts_in(tmp_path / "f.json")) == 1


def test_our_own_table_of_facts_is_read_back(tmp_path):
    (tmp_path / "f.jsonl").write_text(LINES, encoding="utf-8")
    table = facts_in(tmp_path / "f.jsonl")
    write_table(tmp_path / "facts.parquet", FACTS, table, {})
    pd.testing.assert_frame_equal(facts_in(tmp_path / "facts.parquet"), table)


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c"])
def test_a_line_ends_at_a_newline_alone(tmp_path, separator):
    noted = [record | {"note": f"a{separator}b"} for record in RECORDS]
    (tmp_path / "f.jsonl").write_text("\n".join(json.dumps(record, ensure_ascii=False) for record in noted), encoding="utf-8")
    assert len(facts_in(tmp_path / "f.jsonl")) == 2
    (tmp_path / "f.csv").write_text(CSV.assign(note=f"a{separator}b").to_csv(index=False), encoding="utf-8")
    assert len(facts_in(tmp_path / "f.csv")) == 2
    raw = LINES.replace('"Lima"', f'"Lima", "note": "a{separator}b"')  # as no writer of JSON writes it
    (tmp_path / "f.jsonl").write_text(raw, encoding="utf-8")
    assert len(facts_in(tmp_path / "f.jsonl")) == 2


OTHERS = {
    "a Git LFS pointer. Run `git lfs pull`": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "a web page. Fetch the file itself": b"\n<!DOCTYPE html><html><body>facts</body></html>",
    "a zip archive. Unpack it": b"PK\x03\x04rest",
    "a tar archive": gzip.compress(b"f.json".ljust(257, b"\0") + b"ustar\0" + bytes(400)),
    "a gzip file within a gzip file": gzip.compress(gzip.compress(b"[]")),
    "a pickle, which could run code": b"\x80\x05rest",
    "an xz file": b"\xfd7zXZ\x00",
    "an empty file": b" \n \n",
    "a fact in .*; found none": b"[]",
    "bytes that are no text": "text".encode("utf-16-le"),
    "a text that begins with 'once upon'": b"once upon\na time",
    "a text that begins with 'name,age'": b"name,age\nOslo,7",
    "a text that begins with '7'": b"7",
    "facts at .* in UTF-8; found 'utf-8' codec": "é".encode("latin-1"),
    "a whole gzip file at .*; found .*[Ee]nd": gzip.compress(LINES.encode() * 9)[:-20],
    "a whole Parquet file at": parquet(TABLE)[:-20],
    "found columns of different names|subject twice": b"prompt,subject,subject\na,b,c",
    "CSV at .* on line 2": b'prompt,subject\n"a"b,c\n',
    "JSON at .*; found .*line 3": b'[\n{"prompt": "x"},\n]',
    "JSON at .*; found .*line 2": b'{"prompt": "x",\n}',
    "JSON at .*; found lists or objects nested": b"[" * 100_000,
    "JSON at .*; found Exceeds the limit": b"[" + b"7" * 5000 + b"]",
}


@pytest.mark.parametrize("message", OTHERS)
def test_what_is_no_file_of_facts_is_named(tmp_path, message):
    (tmp_path / "facts.json").write_bytes(OTHERS[message])
    with pytest.raises(OnemaskError, match=message):
        facts_in(tmp_path / "facts.json")


def test_a_folder_a_missing_file_and_our_edits_are_named(tmp_path):
    with pytest.raises(OnemaskError, match="a file of facts at .*; found a folder"):
        facts_in(tmp_path)
    with pytest.raises(OnemaskError, match="facts at .*nowhere; found .*No such file"):
        facts_in(tmp_path / "nowhere")
    write_table(tmp_path / "edits.parquet", EDITS, pd.DataFrame(columns=EDITS.names), {})
    with pytest.raises(OnemaskError, match="found this program's table of edits. Give the file of facts"):
        facts_in(tmp_path / "edits.parquet")


def test_all_bad_records_are_named_in_one_run_with_their_lines(tmp_path):
    path = tmp_path / "f.jsonl"
    path.write_text("\n".join([LINES, "", "{broken", '{"subject": "a", "subject": "b"}', "[]", "{}"]), encoding="utf-8")
    with pytest.raises(OnemaskError) as caught:
        facts_in(path)
    said = str(caught.value).splitlines()
    assert "found 4 that cannot" in said[0] and "--skip-bad" in said[0]
    places = ["record 3 (line 4)", "record 4 (line 5)", "record 5 (line 6)", "record 6 (line 7)"]
    assert [line.split(":")[0].strip() for line in said[1:]] == places
    assert "found subject twice" in said[2]


def test_a_row_of_csv_with_too_many_cells_is_named_and_one_with_too_few_lacks_keys(tmp_path):
    path = tmp_path / "f.csv"
    path.write_text("prompt,subject,target_new\nOslo, the town,Oslo,a\nOslo is,Oslo\nOslo lies in,Oslo,Peru\n", encoding="utf-8")
    with pytest.raises(
        OnemaskError, match=r"record 1 \(line 2\): expected 3 cells; found 4(.|\n)*record 2 \(line 3\): .*no target_new"
    ):
        facts_in(path)
    assert facts_in(path, skip=True)["prompt"].tolist() == ["{} lies in"]


def test_a_number_in_a_cell_is_a_text(tmp_path):
    (tmp_path / "f.csv").write_text(
        "prompt,subject,target_new,ground_truth\n{} was written in,Emma,1984,1815\n", encoding="utf-8"
    )
    assert facts_in(tmp_path / "f.csv")[["target_new", "target_true"]].to_numpy().tolist() == [["1984", "1815"]]


def test_skipping_says_how_many_and_which_and_keeps_numbers(tmp_path, caplog):
    path = tmp_path / "f.jsonl"
    path.write_text("\n".join(["{}"] * 25 + [LINES]), encoding="utf-8")
    table = facts_in(path, skip=True)
    assert table["case_id"].tolist() == [25, 9]
    assert "25 bad records are left out:" in caplog.text and "and 5 more" in caplog.text and "record 20: " in caplog.text
    assert "record 21: " not in caplog.text


def test_nothing_left_is_an_error_even_where_bad_records_are_skipped(tmp_path):
    (tmp_path / "f.jsonl").write_text("{}\n{}", encoding="utf-8")
    with pytest.raises(OnemaskError, match="a record of .*f.jsonl that can be used; found none"):
        facts_in(tmp_path / "f.jsonl", skip=True)


def test_the_reader_leaves_its_problems_to_whoever_settles_them(tmp_path):
    (tmp_path / "f.jsonl").write_text(f"{{}}\n{LINES}", encoding="utf-8")
    problems = Problems(tmp_path / "f.jsonl")
    table = read_facts(tmp_path / "f.jsonl", problems)
    with problems.of("case 9"):
        raise OnemaskError("a token", "none", "Correct it.")
    assert len(table) == 2
    with pytest.raises(OnemaskError, match=r"found 2 that cannot(.|\n)*record 1: (.|\n)*case 9: expected a token; found none"):
        problems.settle(len(table))
    problems.settle(len(table))  # what was said is not said again
