"""Reversal: each fact scored by the original, the edited, and the edited and masked model."""

from collections.abc import Callable

import pandas as pd
from torch import Tensor

from onemask.edits import FactoredEdits
from onemask.models import Model
from onemask.scoring import fact_batches, kl_divergence, probe, score


def reversal(
    model: Model,
    facts: pd.DataFrame,
    edits: FactoredEdits,
    masks: dict[str, Tensor],
    batch_tokens: int,
    progress: Callable[[int], None] = lambda done: None,
) -> pd.DataFrame:
    """The `reversal` table: states original, edited, and one a mask (the mask over the edited layer), for every fact."""
    states: dict[str, tuple[bool, Tensor | None]] = {"original": (False, None), "edited": (True, None)}
    states |= {name: (True, keep) for name, keep in masks.items()}
    frames, done = [], 0
    for group in fact_batches(model, facts, batch_tokens):
        batch = facts.iloc[group]
        probes = probe(model, edits.layer, batch)
        original = score(model, probes)
        for state, (edited, keep) in states.items():
            scores = score(model, probes, edits[group] if edited else None, keep)
            frames.append(
                batch[["case_id", "relation_id"]].assign(
                    state=state,
                    logp_true=scores.logp_true.numpy(),
                    logp_new=scores.logp_new.numpy(),
                    logp_true_first=scores.first_true.numpy(),
                    logp_new_first=scores.first_new.numpy(),
                    argmax=scores.log_probs.argmax(-1).numpy(),
                    top1=(scores.log_probs.argmax(-1) == original.log_probs.argmax(-1)).numpy(),
                    kl=kl_divergence(original.log_probs, scores.log_probs).double().numpy(),
                )
            )
        done += len(group)
        progress(done)
    table = pd.concat(frames)
    order = {state: i for i, state in enumerate(states)}
    table = table.assign(order=table["state"].map(order)).rename_axis("row").sort_values(["order", "row"])
    return table.drop(columns="order").reset_index(drop=True)
