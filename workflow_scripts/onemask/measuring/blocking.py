"""Does an edit still succeed while the mask is active? (figure 6)"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from jaxtyping import Bool
from torch import Tensor

from onemask.editors.base import Edited, Task
from onemask.model.edits import FactoredEdits, masked_weight
from onemask.model.models import Model
from onemask.model.scoring import fact_batches, probe, score


def success(
    model: Model, facts: pd.DataFrame, edits: FactoredEdits, keep: Bool[Tensor, "d_model d_mlp"] | None, batch_tokens: int
) -> pd.DataFrame:
    """Columns success (P(o*) > P(o)) and token_accuracy (EasyEdit's, teacher-forced) by fact, index of `facts`."""
    parts = []
    for group in fact_batches(model, facts, batch_tokens):
        batch = facts.iloc[group]
        scores = score(model, probe(model, edits.layer, batch), edits[group], keep)
        parts.append(
            pd.DataFrame(
                {"success": (scores.logp_new > scores.logp_true).numpy(), "token_accuracy": scores.accuracy.numpy()},
                index=batch.index,
            )
        )
    return pd.concat(parts).sort_index()


def block(
    task: Task,
    facts: pd.DataFrame,
    edits: FactoredEdits,
    steps: pd.Series,
    keep: Bool[Tensor, "d_model d_mlp"],
    edit: Callable[[Task], Edited],
) -> pd.DataFrame:
    """The `blocking` table of four states, from existing edits and from new ones made while the layer computes W * K.

    edited, masked_after: the existing edits, judged with W + r u^T and with (W + r u^T) * K. masked: the new edits, judged
    with (W + r u^T) * K, the mask active throughout. masked_weights: the same, judged with W * K + r u^T, where the mask
    covers the old weights but not the update. task: the model, `facts` and templates of the new edits, which `edit` makes.
    """
    model, batch_tokens = task.model, task.work.batch_tokens
    with masked_weight(model, edits.layer, keep):
        result = edit(task)
        new = result.layers[0].to(model.device)
        over_masked = success(model, facts, new, None, batch_tokens)
    before, during = steps.to_numpy(), result.steps.numpy()
    states = {
        "edited": (success(model, facts, edits, None, batch_tokens), before),
        "masked": (success(model, facts, new, keep, batch_tokens), during),
        "masked_weights": (over_masked, during),
        "masked_after": (success(model, facts, edits, keep, batch_tokens), before),
    }
    key = facts[["case_id", "relation_id"]]
    frames = [key.join(judged).assign(state=name, steps=taken) for name, (judged, taken) in states.items()]
    return pd.concat(frames, ignore_index=True)


def by_relations(facts: pd.DataFrame, groups: list[list[str]]) -> list[np.ndarray]:
    """Row numbers of the facts of each group of relations, but for groups of which every edit failed."""
    rows = (np.flatnonzero(facts["relation_id"].isin(relations)) for relations in groups)
    return [group for group in rows if len(group)]
