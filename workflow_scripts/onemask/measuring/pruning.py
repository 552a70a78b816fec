"""Pruning without training (figure 14): the largest weights of one edited matrix are removed, or set back."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from onemask.io.batching import IN_MEMORY, Work, run_batches
from onemask.measuring import perplexity
from onemask.measuring.reversal import reversal_table, score_states
from onemask.measuring.states import State
from onemask.model.edits import FactoredEdits, LayerEdits
from onemask.model.input_cache import cache_layer_inputs
from onemask.model.models import Model
from onemask.model.tokens import prompt_ids

Matrix = Float[Tensor, "d_model d_mlp"]
Activation = Float[Tensor, " d_mlp"]

# size of the update, of the edited weight, norm of the edited matrix's column, mean absolute activation of its neuron
CRITERIA = ("update", "magnitude", "columns", "activation")
STATES = {"zeroed": False, "restored": True}  # does a pruned weight take its value before the edit?


def columns_of(shares: Sequence[float]) -> list[dict[str, Any]]:
    """What sets the states of `states_of` apart, in their order: state, parametrisation (the criterion) and share."""
    return [
        {"state": state, "parametrisation": criterion, "share": share}
        for criterion in CRITERIA
        for share in shares
        for state in STATES
    ]


def criteria(weight: Matrix, update: Matrix, activation: Activation) -> list[Matrix]:
    """By what each weight is pruned first, in the order of CRITERIA (method.md section 5)."""
    edited = weight + update
    return [update.abs(), edited.abs(), edited.norm(dim=0).expand_as(weight), activation.expand_as(weight)]


def largest_removed(values: Float[Tensor, "*shape"], shares: Sequence[float]) -> list[Bool[Tensor, "*shape"]]:
    """A mask for each share of largest values that it removes; where columns are equal within, whole columns.

    Sorted once for all shares.
    """
    if values.stride(0) == 0:
        return [keep.expand_as(values) for keep in largest_removed(values[0], shares)]
    rank = torch.empty(values.numel(), dtype=torch.int64, device=values.device)
    rank[values.flatten().argsort(descending=True, stable=True)] = torch.arange(values.numel(), device=values.device)
    return [(rank >= round(share * values.numel())).view_as(values) for share in shares]


def states_of(model: Model, edit: FactoredEdits, activation: Activation, shares: Sequence[float]) -> list[State]:
    """Every criterion, share and fill over one edit, in the order of `columns_of`."""
    weight = model.weight(edit.layer).float()
    pruned = [
        (keep, restores)
        for values in criteria(weight, edit.dense(0), activation)
        for keep in largest_removed(values, shares)
        for restores in STATES.values()
    ]
    return [
        State(columns["state"], edit, keep, restores)
        for columns, (keep, restores) in zip(columns_of(shares), pruned, strict=True)
    ]


@torch.inference_mode()
def mean_activation(model: Model, layer: int, facts: pd.DataFrame) -> Activation:
    """Mean absolute input of W by neuron over all tokens of the facts' prompts."""
    return cache_layer_inputs(model, layer, prompt_ids(model.tokenizer, facts)).keys.float().abs().mean(0)


def measure_reversal(
    model: Model, facts: pd.DataFrame, edits: LayerEdits, activation: Activation, shares: Sequence[float], work: Work = IN_MEMORY
) -> pd.DataFrame:
    """The `pruning` table of every fact in the states of `states_of`. activation: of `mean_activation`."""

    def compute(group: list[int]) -> dict[str, Tensor]:
        states = states_of(model, edits[group].single, activation, shares)
        return score_states(model, facts.iloc[group], edits[group], states)

    return reversal_table(facts, columns_of(shares), run_batches([[row] for row in range(len(facts))], compute, work))


def measure_perplexity(
    model: Model,
    windows: Int[Tensor, "windows length"],
    cases: Int[np.ndarray, " edits"],
    edits: LayerEdits,
    activation: Activation,
    shares: Sequence[float],
    work: Work = IN_MEMORY,
) -> pd.DataFrame:
    """The `pruning_perplexity` table of every edit in the states of `states_of`. cases: case_id of each edit."""
    inputs = perplexity.windows_at_layer(model, edits.layer, windows)

    def states(group: list[int]) -> list[State]:
        return states_of(model, edits[group].single, activation, shares)

    nll = perplexity.nll_by_edit(model, inputs, windows, states, len(cases), work)
    return perplexity.perplexity_table(perplexity.rows_of(cases, columns_of(shares), nll), windows)
