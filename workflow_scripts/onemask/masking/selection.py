"""Which of the training facts a mask learns from."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from onemask.data.splits import SPLITS
from onemask.io.errors import OnemaskError


def choose(facts: pd.DataFrame, left_out: Sequence[str], count: int | None, seed: int) -> np.ndarray:
    """Row numbers, ascending, of the facts without some relations, and of `count` of them drawn with a seed (None: all).

    A smaller draw is part of every larger one with the same seed. Raises OnemaskError when there are fewer than asked for.
    """
    kept = np.flatnonzero(~facts["relation_id"].isin(left_out))
    wanted = 2 if count is None else count
    if len(kept) < wanted:
        without = f" without {', '.join(left_out)}" if left_out else ""
        raise OnemaskError(f"{wanted} training edits or more{without}", f"{len(kept)}", "Ask for fewer, or make more edits.")
    if count is not None:
        kept = np.sort(np.random.default_rng(seed).permutation(kept)[:count])
    return kept


def measured(facts: pd.DataFrame, plan: Mapping[str, Any], split: str, seed: int) -> np.ndarray:
    """Row numbers of the facts of a split that a mask is measured on; plan: a MaskPlan as a dictionary.

    A mask that left relations out is measured on these alone; one of fewer training edits, of the training split, on its own.
    Raises OnemaskError when there is none.
    """
    if plan["training_edits"] and SPLITS[split].role == "train":
        return choose(facts, [], plan["training_edits"], seed)
    rows = np.flatnonzero(facts["relation_id"].isin(plan["left_out"] or facts["relation_id"]))
    if not len(rows):
        raise OnemaskError(f"facts of {', '.join(plan['left_out'])} in {split}", "none", "Ask for more facts, or fewer folds.")
    return rows


def unseen(facts: pd.DataFrame, training: pd.DataFrame) -> np.ndarray:
    """Row numbers of the facts whose relation and subject are not among the training facts.

    Splits of single and of joint edits are drawn apart, so that a test fact of one may be a training fact of the other.
    Raises OnemaskError when none is left.
    """
    pairs = pd.MultiIndex.from_frame(facts[["relation_id", "subject"]])
    rows = np.flatnonzero(~pairs.isin(pd.MultiIndex.from_frame(training[["relation_id", "subject"]])))
    if not len(rows):
        raise OnemaskError("test facts that no mask was trained on", "none", "Ask for more facts.")
    return rows
