"""What became of a fact that was edited, in a word."""

import numpy as np
import pandas as pd

EDITED, ALREADY_SO, NOT_EDITED = "edited", "already so", "not edited"
UNDECIDABLE, UNSTABLE, FAILED = "undecidable", "unstable", "failed"
VERDICTS = (EDITED, ALREADY_SO, NOT_EDITED, UNDECIDABLE, UNSTABLE, FAILED)  # what each means: method.md section 2.3


def holds(table: pd.DataFrame, when: str = "after") -> np.ndarray:
    """Is the new object the likelier one, by the columns "before" or "after" of an `edits` table?

    Where no true object is known (""), it is where the model predicts each of its tokens.
    """
    accuracy = table["token_accuracy" if when == "after" else "token_accuracy_before"]
    likelier = table[f"logp_new_{when}"] > table[f"logp_true_{when}"]
    return np.where(table["target_true"] == "", accuracy == 1, likelier)


def verdicts(table: pd.DataFrame, nested: np.ndarray) -> np.ndarray:
    """The word of VERDICTS for each row of an `edits` table, as yet without it but with token_accuracy_before.

    nested: the tokens of one object begin the other's.
    """
    before, after = holds(table, "before"), holds(table)
    undecidable = nested & (table["target_true"] != "").to_numpy()
    conditions = [table["failure"] != "", table["unstable"], undecidable, after & before, after]
    return np.select(conditions, [FAILED, UNSTABLE, UNDECIDABLE, ALREADY_SO, EDITED], default=NOT_EDITED)
