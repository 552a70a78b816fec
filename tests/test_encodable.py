"""What only the tokenizer can tell of facts is told of all of them at once, with what the reader found."""

import pandas as pd
import pytest

from conftest import FACTS
from onemask.editors.encodable import encodable
from onemask.io.errors import OnemaskError
from onemask.io.problems import Problems

BAD = [
    FACTS[0] | {"case_id": 10, "subject": "<|end|>"},
    FACTS[0] | {"case_id": 11, "target_true": "<|end|>"},
    FACTS[0] | {"case_id": 12, "prompt": "The {}n is", "subject": "Italia"},
    FACTS[0] | {"case_id": 13, "prompt": "so it is " * 40 + "{} is"},
]
FRAME = pd.DataFrame([FACTS[0], *BAD, FACTS[1]])


def test_every_bad_fact_is_named(model):
    problems = Problems("facts.jsonl")
    assert encodable(model, FRAME, problems)["case_id"].tolist() == [0, 1]
    with pytest.raises(OnemaskError, match="4 that cannot") as raised:
        problems.settle(2)
    lines = str(raised.value).splitlines()[1:]
    expected = ["without special tokens", "without special tokens", "more than the subject", "at most 64 tokens"]
    assert len(lines) == 4
    for case, line, words in zip(range(10, 14), lines, expected, strict=True):
        assert line.strip().startswith(f"case {case}: ") and words in line


def test_bad_facts_are_left_out_where_that_is_asked_for(model, caplog):
    problems = Problems("facts.jsonl", skip=True)
    facts = encodable(model, FRAME, problems)
    problems.settle(len(facts))
    assert "4 bad records are left out" in caplog.text and facts.index.tolist() == [0, 1]


def test_good_facts_are_kept_as_they_are(model):
    frame = pd.DataFrame(FACTS)
    pd.testing.assert_frame_equal(encodable(model, frame, Problems("facts.jsonl")), frame)
