"""The one reader of facts: a file of any known format and layout, record by record, as the `facts` table."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd

from onemask.data.facts_file import read_records
from onemask.data.layouts import Parts, Reader, facts_of, require_parts
from onemask.data.subject_place import with_place
from onemask.data.texts import END_OF_TEXT, name_text, prompt_text
from onemask.io.errors import OnemaskError, shown
from onemask.io.placeholder import PLACE, fill
from onemask.io.problems import Problems

COLUMNS = ("case_id", "relation_id", "prompt", "subject", "target_new", "target_true", "paraphrases", "neighborhood")
# what a run needs of each fact beside the parts without which there is none
OF_A_RUN = ("relation_id", "target_true", "paraphrase_prompts", "neighborhood_prompts")
STRIPPED = "blanks at the ends of a subject, object or relation are left out"
STRIPPED_PROMPT = "blanks at a prompt's end are left out, since objects bring their own"
NONE_KNOWN = "no true object is known; such a fact is judged by what the model predicts"
Note = Callable[[str], None]


def read_facts(path: str | Path, problems: Problems, needed: tuple[str, ...] = ()) -> pd.DataFrame:
    """The `facts` table of a file's usable records; what is wrong with the others goes to `problems`, which the caller settles.

    target_true is "" where no true object is known. needed: parts beyond those of every fact, such as `OF_A_RUN`.

    Raises OnemaskError when the file as a whole cannot be read, or holds no record.
    """
    return facts_table(read_records(path), problems, needed)


def facts_table(records: Iterable[tuple[str, object]], problems: Problems, needed: tuple[str, ...] = ()) -> pd.DataFrame:
    """The same of records with their places. A fact without a case_id has its number, from 0, as one."""
    rows: list[dict] = []
    places: dict[int, str] = {}
    number = 0
    for where, record in records:
        facts: list[Reader] = []
        with problems.of(where):
            facts = facts_of(record)
        for entry, read in enumerate(facts, 1):
            place = where if len(facts) == 1 else f"{where}, entry {entry}"
            with problems.of(place):
                row = _row(read(), number + entry - 1, needed, lambda what, place=place: problems.note(what, place))
                _require_new(row["case_id"], places, place)
                rows.append(row)
        number += max(len(facts), 1)  # a record that cannot be read counts as one fact
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _require_new(case_id: int, places: dict[int, str], place: str) -> None:
    if case_id in places:
        found = f"{case_id} twice, here and in {places[case_id]}"
        raise OnemaskError("a case_id of its own for each fact", found, "Number the facts anew, or leave case_id out.")
    places[case_id] = place


def _row(parts: Parts, number: int, needed: tuple[str, ...], note: Note) -> dict:
    """A row of the `facts` table; OnemaskError where a part is missing, of another type, or contradicts another."""
    require_parts(parts, needed)
    row: dict = {"case_id": _whole(parts.get("case_id", number))}
    given = parts.get("relation_id", "")
    row["relation_id"] = _name(given, "relation_id", note) if given != "" or "relation_id" in needed else ""
    row |= {key: _name(parts[key], key, note) for key in ("subject", "target_new")}
    row["target_true"] = _true_object(parts.get("target_true"), "target_true" in needed, note)
    if row["target_new"] == row["target_true"]:
        raise OnemaskError("a target_new other than target_true", f"{shown(row['target_new'])} for both", "Correct the record.")
    row["prompt"] = with_place(_prompt(parts["prompt"], "prompt", note), row["subject"])
    paraphrases = _prompts(parts.get("paraphrase_prompts", []), "paraphrase_prompts", note)
    row["paraphrases"] = [fill(text, row["subject"]) if PLACE in text else text for text in paraphrases]
    row["neighborhood"] = _neighborhood(parts.get("neighborhood_prompts", []), note)
    return row


def _neighborhood(value: object, note: Note) -> list[str]:
    """Neighbourhood prompts, each a text, or an object with a target beside its prompt, as of zsRE."""
    if isinstance(value, list):
        value = [entry["prompt"] if isinstance(entry, dict) and "prompt" in entry else entry for entry in value]
    prompts = _prompts(value, "neighborhood_prompts", note)
    if any(PLACE in text for text in prompts):
        found = f'"{PLACE}" in neighborhood_prompts'
        raise OnemaskError("neighbourhood prompts with subjects of their own", found, "Write the other subjects out.")
    return prompts


def _name(value: object, key: str, note: Note) -> str:
    if isinstance(value, dict):  # CounterFact's objects are {"str": ..., "id": ...}
        value = value.get("str")
    text, stripped = name_text(value, key)
    if stripped:
        note(STRIPPED)
    return text


def _true_object(value: object, needed: bool, note: Note) -> str:
    """The true object, or "" where none is known: it is not there, empty, or a token that ends texts."""
    if isinstance(value, dict) and "str" in value:
        value = value["str"]
    known = value is not None and not (isinstance(value, str) and (not value.strip() or value.strip() in END_OF_TEXT))
    if known or needed:
        if isinstance(value, str) and value.strip() in END_OF_TEXT:
            found = f"{shown(value)}, which stands for none"
            raise OnemaskError("a true object for target_true", found, "Take facts whose true object is known.")
        return _name(value, "target_true", note)
    note(NONE_KNOWN)
    return ""


def _prompt(value: object, key: str, note: Note) -> str:
    text, stripped = prompt_text(value, key)
    if stripped:
        note(STRIPPED_PROMPT)
    return text


def _prompts(value: object, key: str, note: Note) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise OnemaskError(f"a list of texts for {key}", shown(value), "Correct the record.")
    return [_prompt(text, key, note) for text in value]


def _whole(value: object) -> int:
    """A case_id: a whole number, also where it is written as 7.0 or, as in CSV, "7" or "7.0"."""
    whole = None
    if isinstance(value, str) and (written := re.fullmatch(r"\s*([+-]?[0-9]{1,19})(\.0*)?\s*", value)):
        whole = int(written[1])
    elif isinstance(value, int) and not isinstance(value, bool):
        whole = value
    elif isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        whole = int(value)
    if whole is None or not -(2**63) <= whole < 2**63:
        raise OnemaskError("a whole number for case_id", shown(value), "Correct the record.")
    return whole
