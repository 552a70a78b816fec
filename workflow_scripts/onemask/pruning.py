"""Pruning without training (figure 14): the largest weights of one edited matrix are removed, or set back."""

import pandas as pd
import torch
from torch import Tensor

from onemask.cut_store import cut_texts
from onemask.edits import FactoredEdits
from onemask.models import Model
from onemask.states import State
from onemask.tokens import prompt_ids

FILLS = {"zero": False, "original": True}  # does a pruned weight take its value before the edit?


def criteria(weight: Tensor, update: Tensor, activation: Tensor) -> dict[str, Tensor]:
    """By what each weight is pruned first, (d_model, d_mlp): size of the update, of the edited weight, norm of the edited
    matrix's column, and mean absolute activation of its neuron (method.md section 5).

    activation: (d_mlp,).
    """
    edited = weight + update
    columns = {"columns": edited.norm(dim=0), "activation": activation}
    return {"update": update.abs(), "magnitude": edited.abs()} | {
        name: values.expand_as(weight) for name, values in columns.items()
    }


def largest_removed(values: Tensor, shares: list[float]) -> list[Tensor]:
    """A mask for each share of largest values that it removes; where columns are equal within, whole columns.

    Sorted once for all shares.
    """
    if values.stride(0) == 0:
        return [keep.expand_as(values) for keep in largest_removed(values[0], shares)]
    rank = torch.empty(values.numel(), dtype=torch.int64, device=values.device)
    rank[values.flatten().argsort(descending=True, stable=True)] = torch.arange(values.numel(), device=values.device)
    return [(rank >= round(share * values.numel())).view_as(values) for share in shares]


def states_of(model: Model, edit: FactoredEdits, activation: Tensor, shares: list[float]) -> list[State]:
    """Every criterion, fill and share over one edit, named as "update-zero-5" (percent)."""
    weight = model.weight(edit.layer).float()
    return [
        State(f"{name}-{fill}-{100 * share:g}", edit, keep, restores)
        for name, values in criteria(weight, edit.dense(0), activation).items()
        for share, keep in zip(shares, largest_removed(values, shares), strict=True)
        for fill, restores in FILLS.items()
    ]


@torch.inference_mode()
def mean_activation(model: Model, layer: int, facts: pd.DataFrame) -> Tensor:
    """Mean absolute input of W by neuron over all tokens of the facts' prompts, (d_mlp,)."""
    return cut_texts(model, layer, prompt_ids(model.tokenizer, facts)).keys.float().abs().mean(0)
