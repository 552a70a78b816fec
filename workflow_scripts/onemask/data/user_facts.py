"""A user's own facts: JSON lines (or a JSON list), plain or of CounterFact's schema, as the `facts` table."""

import json
from pathlib import Path

import pandas as pd

from onemask.data.counterfact import TEXTS, fact_row, to_table
from onemask.io.errors import OnemaskError, reason


def read_own_facts(path: str | Path) -> pd.DataFrame:
    """The `facts` table of the records of a file.

    A plain record has prompt, subject, target_new and target_true as texts; one of CounterFact has them in requested_rewrite.
    The prompt holds "{}" once in the subject's place, or the subject itself once. case_id defaults to the record's number.

    Raises OnemaskError, naming the line, when a record is not JSON, lacks a key, or does not hold its subject exactly once.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise OnemaskError(f"facts at {path}", reason(error), "Check the path.") from error
    contents = _contents(text, path)
    if not contents:
        raise OnemaskError(f"a fact in {path}", "none", "Add one JSON object a line.")
    records = [_record(content, number, f"record {number + 1} of {path}") for number, content in enumerate(contents)]
    return to_table(records, str(path))


def _contents(text: str, path: str | Path) -> list:
    if text.lstrip().startswith("["):
        lines = [("", text)]
    else:
        lines = [(f" on line {number}", line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    records = []
    for where, line in lines:
        try:
            content = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise OnemaskError(f"JSON{where} of {path}", reason(error), "Write one JSON object a line, or one list.") from error
        records += content if isinstance(content, list) else [content]
    return records


def _record(content: object, number: int, where: str) -> dict:
    """A record of CounterFact's schema, what may be left out filled in."""
    rewrite = content.get("requested_rewrite", content) if isinstance(content, dict) else content
    if not isinstance(content, dict) or not isinstance(rewrite, dict):
        raise OnemaskError(f"a JSON object in {where}", type(rewrite).__name__, f"Give it the keys {', '.join(TEXTS)}.")
    record = {"case_id": number, "paraphrase_prompts": [], "neighborhood_prompts": []} | content
    record["requested_rewrite"] = {"relation_id": ""} | rewrite
    row = fact_row(record, where)
    record["requested_rewrite"]["prompt"] = _with_place(row["prompt"], row["subject"], where)
    return record


def _with_place(prompt: str, subject: str, where: str) -> str:
    """The prompt with "{}" in the subject's place."""
    advice = 'Write "{}" once, where the subject stands.'
    if "{}" in prompt:
        if prompt.count("{}") > 1:
            raise OnemaskError(f'"{{}}" once in the prompt of {where}', repr(prompt), advice)
        return prompt
    if prompt.count(subject) != 1:
        found = f"{prompt.count(subject)} times in {prompt!r}"
        raise OnemaskError(f"the subject {subject!r} once in the prompt of {where}", found, advice)
    return prompt.replace(subject, "{}")
