"""What became of a fact that was edited, in a word."""

import numpy as np
import pandas as pd

EDITED, ALREADY_SO, NOT_EDITED = "edited", "already so", "not edited"
UNDECIDABLE, UNSTABLE, FAILED = "undecidable", "unstable", "failed"
VERDICTS = {
    EDITED: "the new object is likelier than the true one, and was not before",
    ALREADY_SO: "the new object was likelier before the edit, and still is",
    NOT_EDITED: "the true object is likelier",
    UNDECIDABLE: "one object begins the other, so that the shorter is always at least as likely",
    UNSTABLE: "the model does not work any more",
    FAILED: "no finite edit was found",
}


def verdicts(table: pd.DataFrame, nested: np.ndarray) -> np.ndarray:
    """The word of VERDICTS for each row of an `edits` table, as yet without it.

    nested: the tokens of one object begin the other's. Where no true object is known (""), the new one counts as likelier
    where the model predicts each of its tokens.
    """
    unknown = (table["target_true"] == "").to_numpy()
    before = np.where(unknown, table["token_accuracy_before"] == 1, table["logp_new_before"] > table["logp_true_before"])
    after = np.where(unknown, table["token_accuracy"] == 1, table["logp_new_after"] > table["logp_true_after"])
    conditions = [table["failure"] != "", table["unstable"], nested & ~unknown, after & before, after]
    return np.select(conditions, [FAILED, UNSTABLE, UNDECIDABLE, ALREADY_SO, EDITED], default=NOT_EDITED)
