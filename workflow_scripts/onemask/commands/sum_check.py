"""What a sum of edits makes of a model: each may have been made on its own, and together they may disturb each other."""

import numpy as np
import pandas as pd

from onemask.editors.tables import score_facts, stack_layers
from onemask.editors.verdicts import holds
from onemask.model.edits import applied
from onemask.model.models import Model
from onemask.model.neutral import mean_nll

BATCH_TOKENS = 4000


def in_the_sum(model: Model, table: pd.DataFrame) -> str:
    """How many facts of an `edits` table hold with all its edits in the weights, and the neutral text's perplexity then.

    Those count that hold under their own edit. The model's weights are afterwards what they were.
    """
    facts, edits = table.drop_duplicates("case_id").reset_index(drop=True), stack_layers(table, model)
    before = np.exp(mean_nll(model))
    with applied(model, edits):
        scores = score_facts(model, facts, None, edits[-1].layer, BATCH_TOKENS, "after")
        after = np.exp(mean_nll(model))
    scores = scores.rename(columns={"token_accuracy_after": "token_accuracy"})
    alone, together = holds(facts), holds(facts.assign(**scores))
    return (
        f"{int((alone & together).sum())} of {int(alone.sum())} edits that hold on their own hold in the sum; "
        f"perplexity of a neutral text {before:,.4g} -> {after:,.4g}"
    )
