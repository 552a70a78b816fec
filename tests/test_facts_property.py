"""The reader of facts under whatever is given to it: a table that holds its promises, or one clear error."""

import gzip
import json
import tempfile
import unicodedata
from pathlib import Path

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from onemask.data.read_facts import read_facts
from onemask.io.errors import OnemaskError
from onemask.io.placeholder import fill
from onemask.io.problems import Problems

KEYS = ["prompt", "subject", "target_new", "target_true", "case_id", "requested_rewrite", "ground_truth", "src", "answers", "x"]
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.sampled_from(["{}", "Oslo", "<s>", " "])
)
JSON = st.recursive(
    LEAVES, lambda part: st.lists(part, max_size=3) | st.dictionaries(st.sampled_from(KEYS), part, max_size=5), max_leaves=12
)
WORD = st.text(st.characters(exclude_categories=("C", "Z"), exclude_characters="{}"), min_size=1, max_size=8)
BLANK = st.sampled_from(["", " ", "\u00a0", "\n", "\u200b", " \t"])
FACT = st.fixed_dictionaries(
    {
        "prompt": st.builds("{} {{}} {}".format, WORD, WORD),
        "subject": st.builds("{}{}{}".format, BLANK, WORD, BLANK),
        "target_new": st.builds("new {}".format, WORD),
        "target_true": st.builds("true {}".format, WORD),
    }
)


def read(content: bytes, suffix: str = "") -> pd.DataFrame:
    """The facts of a file of this content."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"facts{suffix}"
        path.write_bytes(content)
        problems = Problems(path)
        facts = read_facts(path, problems)
        problems.settle(len(facts))
        return facts


def holds_its_promises(facts: pd.DataFrame) -> None:
    assert len(facts) and facts["case_id"].is_unique
    for fact in facts.itertuples():
        assert fact.subject.strip() == fact.subject != "" and fact.subject in fill(fact.prompt, fact.subject)
        assert fact.target_new.strip() and fact.target_new != fact.target_true and not fact.prompt[-1:].isspace()
        texts = (fact.prompt, fact.subject, fact.target_new, fact.target_true)
        assert all(unicodedata.is_normalized("NFC", text) and text.isprintable() for text in texts)


@given(st.lists(JSON, min_size=1, max_size=4))
def test_records_of_any_kind(records):
    try:
        holds_its_promises(read(json.dumps(records).encode()))
    except OnemaskError as error:
        assert "expected" in str(error) and "found" in str(error)


@given(st.binary(max_size=200) | st.text(max_size=80).map(str.encode) | st.binary(max_size=60).map(gzip.compress))
def test_files_of_any_kind(content):
    try:
        holds_its_promises(read(content))
    except OnemaskError as error:
        assert "expected" in str(error) and "found" in str(error)


def in_every_format(records: list[dict]) -> dict[str, bytes]:
    table = pd.DataFrame(records)
    lines = "\n".join(json.dumps(record, ensure_ascii=False) for record in records)
    with tempfile.TemporaryDirectory() as folder:
        table.to_parquet(Path(folder) / "facts.parquet")
        parquet = (Path(folder) / "facts.parquet").read_bytes()
    return {
        "json": json.dumps(records).encode(),
        "json lines": lines.encode(),
        "with a mark": b"\xef\xbb\xbf" + lines.encode(),
        "utf-16": lines.encode("utf-16"),
        "gzip": gzip.compress(lines.encode()),
        "csv": table.to_csv(index=False).encode(),
        "parquet": parquet,
    }


@given(st.lists(FACT, min_size=1, max_size=3))
def test_a_fact_is_the_same_in_every_format(records):
    contents = in_every_format(records)
    try:
        expected = read(contents.pop("json"))
    except OnemaskError:  # a word of signs that are refused by name
        return
    holds_its_promises(expected)
    assert len(expected) == len(records)
    for name, content in contents.items():
        pd.testing.assert_frame_equal(read(content), expected, obj=name)
