"""Which facts a mask learns from, and is measured on; and how a plan changes its training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from onemask.data.splits import SPLITS
from onemask.editors.tables import subset
from onemask.io.errors import OnemaskError
from onemask.masking.settings import MaskSettings
from onemask.model.edits import LayerEdits


def choose(facts: pd.DataFrame, left_out: Sequence[str], count: int | None, seed: int) -> np.ndarray:
    """Row numbers, ascending, of the facts without some relations, and of `count` of them drawn with a seed (None: all).

    A smaller draw is part of every larger one with the same seed. Raises OnemaskError when there are fewer than asked for.
    """
    rows = np.flatnonzero(~facts["relation_id"].isin(left_out))
    needed = 2 if count is None else count
    if len(rows) < needed:
        without = f" without {', '.join(left_out)}" if left_out else ""
        raise OnemaskError(f"{needed} training edits or more{without}", f"{len(rows)}", "Ask for fewer, or make more edits.")
    return rows if count is None else np.sort(np.random.default_rng(seed).permutation(rows)[:count])


@dataclass(frozen=True)
class TrainingEdits:
    """What a mask is trained on, and how. swapped: of `masking.training.prepare`, None where labels stay."""

    facts: pd.DataFrame
    edits: LayerEdits
    settings: MaskSettings
    swapped: np.ndarray | None


def training_edits(
    facts: pd.DataFrame, edits: LayerEdits, settings: MaskSettings, plan: Mapping[str, Any], draw_seed: int, seed: int
) -> TrainingEdits:
    """What a plan leaves of all training edits, with the settings that it asks for; plan: a MaskPlan as a dictionary.

    Where it asks for fewer edits, epochs are added until the mask takes about as many steps as with all. Where it asks for
    shuffled labels, a random half of the edits changes places with the original. draw_seed: of the edits. seed: the mask's.

    Raises OnemaskError when there are fewer edits than the plan asks for.
    """
    rows = choose(facts, plan["left_out"], plan["training_edits"], draw_seed)
    if plan["training_edits"]:
        settings = replace(settings, epochs=round(settings.epochs * len(facts) / len(rows)))
    swapped = np.random.default_rng(seed).random(len(rows)) < 0.5 if plan["shuffled"] else None
    return TrainingEdits(*subset(facts, edits, rows), settings, swapped)


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
