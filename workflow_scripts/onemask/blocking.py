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
    """The `blocking` table: existing edits without the mask, with the mask put on afterwards, and new ones made under it.

    Under the mask the layer computes with W * K while ROME optimises and reads keys and values, and with (W + r u^T) * K
    when the edit is judged.
    """
    with masked_weight(model, edits.layer, keep):
        masked = rome.edit(model, facts.to_dict("records"), templates, settings, progress)
    conditions = {
        "unmasked": (edits, None, steps.to_numpy()),
        "masked": (masked.edits, keep, masked.steps.numpy()),
        "masked_after": (edits, keep, steps.to_numpy()),
    }
    frames = []
    for condition, (made, mask, taken) in conditions.items():
        judged = success(model, facts, made, mask, batch_tokens)
        frames.append(facts[["case_id", "relation_id"]].join(judged).assign(condition=condition, steps=taken))
    return pd.concat(frames, ignore_index=True)
