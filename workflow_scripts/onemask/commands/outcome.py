"""What `onemask edit` says at its end: a line a fact, and how many of each verdict."""

import math

import pandas as pd

from onemask.editors.health import ADVICE, JOINT_ADVICE
from onemask.editors.verdicts import EDITED, UNDECIDABLE, UNSTABLE
from onemask.io.placeholder import fill


def outcome(table: pd.DataFrame) -> str:
    """Verdict and probabilities of each fact of an `edits` table, and a summary."""
    facts = table.drop_duplicates("case_id")
    usual = facts["relative_norm"].median()
    lines = [
        f"{fact.case_id:>6}  {fact.verdict:<11}  {_change(fact)}  {_text(fact)}{_note(fact, usual)}"
        for fact in facts.itertuples()
    ]
    counts = facts["verdict"].value_counts()
    edited = f"{counts.get(EDITED, 0)} of {len(facts)} facts edited"
    others = [f"{count} {verdict}" for verdict, count in counts.drop(EDITED, errors="ignore").items()]
    return "\n".join([*lines, ", ".join([edited, *others])])


def _text(fact) -> str:
    return f"{fill(fact.prompt, fact.subject)} {fact.target_true or '(unknown)'} -> {fact.target_new}"


def _change(fact) -> str:
    if not fact.target_true:
        return f"log P(new): {fact.logp_new_before:+.2f} -> {fact.logp_new_after:+.2f}"
    before, after = fact.logp_new_before - fact.logp_true_before, fact.logp_new_after - fact.logp_true_after
    return f"log P(new) - log P(true): {before:+.2f} -> {after:+.2f}"


def _note(fact, usual: float) -> str:
    """What a verdict needs to be understood. usual: median relative norm of the file's edits."""
    if fact.verdict == UNSTABLE:
        size = f"|update| is {fact.relative_norm:.2g} of |W|"
        size += "" if fact.joint else f", {fact.relative_norm / usual:.2g} times the median"
        advice = JOINT_ADVICE if fact.joint else ADVICE
        return f"\n{'':8}{size}; {fact.neutral_kl:.2g} nats a token on a neutral text: {advice}"
    if fact.verdict == UNDECIDABLE:
        short, long = sorted((fact.target_true, fact.target_new), key=len)
        before, after = (
            math.exp(-abs(true - new))
            for true, new in ((fact.logp_true_before, fact.logp_new_before), (fact.logp_true_after, fact.logp_new_after))
        )
        return f"\n{'':8}{short!r} begins {long!r}; the model goes on to the longer with p {before:.2f} -> {after:.2f}"
    return f" ({fact.failure})" if fact.failure else ""
