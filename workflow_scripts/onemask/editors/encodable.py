"""What only a model and its tokenizer can tell of a fact: can its texts be read and its subject found? Asked before any work."""

import pandas as pd

from onemask.io.problems import Problems
from onemask.model.models import Model
from onemask.model.scoring import texts_of
from onemask.model.tokens import encode_with_subject

KL_PROMPT = "{} is a"


def encodable(model: Model, facts: pd.DataFrame, problems: Problems) -> pd.DataFrame:
    """The facts that can be edited and scored; what is wrong with the others goes to `problems`, which the caller settles."""
    can_be = []
    for row in range(len(facts)):
        fact = facts.iloc[row]
        with problems.of(f"case {fact.case_id}"):
            texts_of(model, facts.iloc[[row]])
            for prompt in (fact.prompt, KL_PROMPT):
                encode_with_subject(model.tokenizer, prompt, fact.subject)
            can_be.append(row)
    return facts.iloc[can_be].reset_index(drop=True)
