"""Does an edit still succeed while the mask is active? (figure 6)"""

import contextlib
from collections.abc import Callable, Iterator

import pandas as pd
import torch
from torch import Tensor

from onemask import rome
from onemask.edits import FactoredEdits
from onemask.models import Model
from onemask.scoring import fact_batches, probe, score


@contextlib.contextmanager
def masked_weight(model: Model, layer: int, keep: Tensor) -> Iterator[None]:
    """Within the block the layer's W is W * K, whatever reads it; afterwards W is what it was, bit for bit."""
    weight = model.weight(layer)
    saved = weight.clone()
    with torch.no_grad():
        weight.mul_(keep.to(weight))
    try:
        yield
    finally:
        with torch.no_grad():
            weight.copy_(saved)


def success(model: Model, facts: pd.DataFrame, edits: FactoredEdits, keep: Tensor | None, batch_tokens: int) -> pd.DataFrame:
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
    model: Model,
    facts: pd.DataFrame,
    edits: FactoredEdits,
    steps: pd.Series,
    keep: Tensor,
    templates: list[str],
    settings: rome.RomeSettings,
    batch_tokens: int,
    progress: Callable[[int], None] = lambda done: None,
) -> pd.DataFrame:
    """The `blocking` table of four conditions, from existing edits and from new ones made while the layer computes W * K.

    unmasked, masked_after: the existing edits, judged with W + r u^T and with (W + r u^T) * K. masked: the new edits, judged
    with (W + r u^T) * K, the mask active throughout. masked_weights: the same, judged with W * K + r u^T, where the mask
    covers the old weights but not the update.
    """
    with masked_weight(model, edits.layer, keep):
        made = rome.edit(model, facts.to_dict("records"), templates, settings, progress)
        over_masked = success(model, facts, made.edits, None, batch_tokens)
    before, during = steps.to_numpy(), made.steps.numpy()
    conditions = {
        "unmasked": (success(model, facts, edits, None, batch_tokens), before),
        "masked": (success(model, facts, made.edits, keep, batch_tokens), during),
        "masked_weights": (over_masked, during),
        "masked_after": (success(model, facts, edits, keep, batch_tokens), before),
    }
    key = facts[["case_id", "relation_id"]]
    frames = [key.join(judged).assign(condition=name, steps=taken) for name, (judged, taken) in conditions.items()]
    return pd.concat(frames, ignore_index=True)
