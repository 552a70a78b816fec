"""Pruning without training (figure 14): the largest weights of one edited matrix are removed, or set back."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from onemask.measuring.states import State
from onemask.model.cut_store import cut_texts
from onemask.model.edits import FactoredEdits
from onemask.model.models import Model
from onemask.model.tokens import prompt_ids

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


def criteria(weight: Tensor, update: Tensor, activation: Tensor) -> list[Tensor]:
    """By what each weight is pruned first, (d_model, d_mlp), in the order of CRITERIA (method.md section 5).

    activation: (d_mlp,).
    """
    edited = weight + update
    return [update.abs(), edited.abs(), edited.norm(dim=0).expand_as(weight), activation.expand_as(weight)]


def largest_removed(values: Tensor, shares: list[float]) -> list[Tensor]:
    """A mask for each share of largest values that it removes; where columns are equal within, whole columns.

    Sorted once for all shares.
    """
    if values.stride(0) == 0:
        return [keep.expand_as(values) for keep in largest_removed(values[0], shares)]
    rank = torch.empty(values.numel(), dtype=torch.int64, device=values.device)
    rank[values.flatten().argsort(descending=True, stable=True)] = torch.arange(values.numel(), device=values.device)
    return [(rank >= round(share * values.numel())).view_as(values) for share in shares]


def states_of(model: Model, edit: FactoredEdits, activation: Tensor, shares: Sequence[float]) -> list[State]:
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
def mean_activation(model: Model, layer: int, facts: pd.DataFrame) -> Tensor:
    """Mean absolute input of W by neuron over all tokens of the facts' prompts, (d_mlp,)."""
    return cut_texts(model, layer, prompt_ids(model.tokenizer, facts)).keys.float().abs().mean(0)
