"""Reversal: each fact scored by the original, the edited, and the edited and masked model."""

from collections.abc import Callable

import pandas as pd
import torch
from torch import Tensor

from onemask.edits import LayerEdits
from onemask.models import Model
from onemask.progress import counted
from onemask.scoring import Scores, fact_batches, first_tokens, kl_divergence, probe
from onemask.states import State


def reversal(
    model: Model,
    facts: pd.DataFrame,
    edits: LayerEdits,
    states: list[State],
    batch_tokens: int,
    owners: list[int] | None = None,
    progress: Callable[[int], None] = lambda done: None,
    as_released: bool = False,
) -> pd.DataFrame:
    """The `reversal` table: every fact in every state. owners: index of each fact's edit (None: edits in the facts' order).

    as_released: first tokens are those of the objects without their leading space (method.md section 6, 1; table 3).
    """
    frames = []
    for group in counted(fact_batches(model, facts, batch_tokens), progress):
        batch, rows = facts.iloc[group], group if owners is None else [owners[i] for i in group]
        unedited = probe(model, edits.layer, batch)
        edited = unedited
        if edits.others:
            with edits.others_applied(model):
                edited = probe(model, edits.layer, batch)
        original = State("original").score(model, unedited)
        for state in states:
            scores = state[rows].score(model, unedited if state.update is None else edited)
            first_true, first_new = (
                _first_as_released(model, batch, scores) if as_released else (scores.first_true, scores.first_new)
            )
            frames.append(
                batch[["case_id", "relation_id"]].assign(
                    state=state.name,
                    logp_true=scores.logp_true.numpy(),
                    logp_new=scores.logp_new.numpy(),
                    logp_true_first=first_true.numpy(),
                    logp_new_first=first_new.numpy(),
                    argmax=scores.log_probs.argmax(-1).numpy(),
                    top1=(scores.log_probs.argmax(-1) == original.log_probs.argmax(-1)).numpy(),
                    kl=kl_divergence(original.log_probs, scores.log_probs).double().numpy(),
                )
            )
    table = pd.concat(frames)
    order = {state.name: i for i, state in enumerate(states)}
    table = table.assign(order=table["state"].map(order)).rename_axis("row").sort_values(["order", "row"])
    return table.drop(columns="order").reset_index(drop=True)


def _first_as_released(model: Model, facts: pd.DataFrame, scores: Scores) -> list[Tensor]:
    """Log-probabilities of the first tokens of both objects without their leading space, (facts,) each."""
    rows = torch.arange(len(facts))
    return [scores.log_probs[rows, first_tokens(model, facts[name], False).cpu()] for name in ("target_true", "target_new")]


def neighbours(facts: pd.DataFrame, prompts: int) -> tuple[pd.DataFrame, list[int]]:
    """Each fact's first neighbourhood prompts (which share its true object) as facts, and the row of the fact of each."""
    rows, owners = [], []
    for i, fact in enumerate(facts.to_dict("records")):
        for text in list(fact["neighborhood"])[:prompts]:
            rows.append(fact | {"prompt": text})
            owners.append(i)
    return pd.DataFrame(rows, columns=facts.columns), owners
