"""Facts that one joint edit cannot hold: two new objects for the same prompt and subject, or the same fact twice."""

import logging
from typing import Any

import pandas as pd

from onemask.io.errors import OnemaskError, shown
from onemask.io.placeholder import fill
from onemask.io.problems import SHOWN, Problems


def without_conflicts(facts: pd.DataFrame, problems: Problems, joint: bool) -> pd.DataFrame:
    """The facts of which a joint edit can hold all: the first about each prompt and subject; later ones go to `problems`.

    Single edits do not meet, so that for them (joint: false) all facts stand, and a warning names the later ones.
    """
    first: dict[tuple[str, str], tuple[int, str]] = {}
    later: dict[int, OnemaskError] = {}
    for fact in facts.itertuples():
        case, new = first.setdefault((fact.prompt, fact.subject), (fact.case_id, fact.target_new))
        if case != fact.case_id:
            later[fact.case_id] = _conflict(fact, case, new)
    if joint:
        for case, error in later.items():
            with problems.of(f"case {case}"):
                raise error
        return facts[~facts["case_id"].isin(list(later))].reset_index(drop=True)
    if later:
        named = "; ".join(f"case {case} has {error.found}" for case, error in list(later.items())[:SHOWN])
        logging.warning("%s: %d facts repeat or contradict earlier ones: %s", problems.source, len(later), named)
    return facts


def _conflict(fact: Any, case: int, new: str) -> OnemaskError:
    text = shown(fill(fact.prompt, fact.subject))
    if fact.target_new == new:
        return OnemaskError("each fact once in a joint edit", f"case {case} again, {text} {shown(new)}", "Leave one out.")
    found = f"{shown(fact.target_new)} for {text}, which in case {case} has {shown(new)}"
    expected = "one new object for a prompt and subject in a joint edit"
    return OnemaskError(expected, found, "Leave one out, or take a single editor.")
