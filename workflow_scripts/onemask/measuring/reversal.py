"""Reversal: each fact scored by the original, the edited, and the edited and masked model."""

from typing import Any

import pandas as pd
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from onemask.io.batching import IN_MEMORY, Work, run_batches
from onemask.io.errors import OnemaskError
from onemask.measuring.states import State
from onemask.model.edits import LayerEdits
from onemask.model.models import Model
from onemask.model.scoring import Scores, fact_batches, first_tokens, kl_divergence, probe


def reversal(
    model: Model,
    facts: pd.DataFrame,
    edits: LayerEdits,
    states: list[State],
    work: Work = IN_MEMORY,
    owners: list[int] | None = None,
    as_released: bool = False,
) -> pd.DataFrame:
    """The `reversal` table: every fact in every state. owners: index of each fact's edit (None: edits in the facts' order).

    as_released: first tokens are those of the objects without their leading space (method.md section 6.1; table 3).
    """

    def compute(group: list[int]) -> dict[str, Tensor]:
        rows = group if owners is None else [owners[i] for i in group]
        return score_states(model, facts.iloc[group], edits, [state[rows] for state in states], as_released)

    scores = run_batches(fact_batches(model, facts, work.batch_tokens), compute, work)
    return reversal_table(facts, [state.columns for state in states], scores)


def score_states(
    model: Model, facts: pd.DataFrame, edits: LayerEdits, states: list[State], as_released: bool = False
) -> dict[str, Shaped[Tensor, "facts states"]]:
    """Columns of the `reversal` table. states: fact i under their update i."""
    unedited = probe(model, edits.layer, facts)
    edited = unedited
    if edits.others:
        with edits.others_applied(model):
            edited = probe(model, edits.layer, facts)
    original = State("original").score(model, unedited)
    by_state = []
    for state in states:
        scores = state.score(model, unedited if state.update is None else edited)
        first_true, first_new = _first_as_released(model, facts, scores) if as_released else (scores.first_true, scores.first_new)
        by_state.append(
            {
                "logp_true": scores.logp_true,
                "logp_new": scores.logp_new,
                "logp_true_first": first_true,
                "logp_new_first": first_new,
                "argmax": scores.log_probs.argmax(-1),
                "top1": scores.log_probs.argmax(-1) == original.log_probs.argmax(-1),
                "kl": kl_divergence(original.log_probs, scores.log_probs).double(),
            }
        )
    return {name: torch.stack([columns[name] for columns in by_state], dim=1) for name in by_state[0]}


def reversal_table(
    facts: pd.DataFrame, states: list[dict[str, Any]], scores: dict[str, Shaped[Tensor, "facts states"]]
) -> pd.DataFrame:
    """The `reversal` table from the columns of `score_states`. states: the columns that say which state each is."""
    who = facts[["case_id", "relation_id"]]
    return pd.concat(
        [
            who.assign(**state, **{name: values[:, at].numpy() for name, values in scores.items()})
            for at, state in enumerate(states)
        ],
        ignore_index=True,
    )


def _first_as_released(model: Model, facts: pd.DataFrame, scores: Scores) -> list[Float[Tensor, " facts"]]:
    """Log-probabilities of the first tokens of both objects without their leading space."""
    tokens = (first_tokens(model, facts, name, as_released=True).cpu() for name in ("target_true", "target_new"))
    return [scores.log_probs[torch.arange(len(facts)), ids] for ids in tokens]


def neighbours(facts: pd.DataFrame, prompts: int) -> tuple[pd.DataFrame, list[int]]:
    """Each fact's first neighbourhood prompts (which share its true object) as facts, and the row of the fact of each.

    Raises OnemaskError when there is none.
    """
    rows, owners = [], []
    for i, fact in enumerate(facts.to_dict("records")):
        for text in list(fact["neighborhood"])[:prompts]:
            rows.append(fact | {"prompt": "{}", "subject": text})
            owners.append(i)
    if not rows:
        raise OnemaskError("neighbourhood prompts in the test facts", "none", "Set neighborhood_prompts: 0.")
    return pd.DataFrame(rows, columns=facts.columns), owners
