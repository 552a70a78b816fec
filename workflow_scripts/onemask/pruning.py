"""Pruning without training (figure 14): the largest weights of one edited matrix are removed, or set back."""

import pandas as pd
import torch
from torch import Tensor

from onemask.cut_store import cut_texts
from onemask.edits import FactoredEdits
from onemask.models import Model
from onemask.parametrisations import keep_largest
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


def largest_removed(values: Tensor, share: float) -> Tensor:
    """A mask without the share of largest values; where columns are equal within, without whole columns."""
    if values.stride(0) == 0:
        return keep_largest(-values[0], share).expand_as(values)
    return keep_largest(-values, share)


def states_of(model: Model, edit: FactoredEdits, activation: Tensor, shares: list[float]) -> list[State]:
    """Every criterion, fill and share over one edit, named as "update-zero-5" (percent)."""
    weight = model.weight(edit.layer).float()
    found = []
    for name, values in criteria(weight, edit.dense(0), activation).items():
        for share in shares:
            keep = largest_removed(values, share)
            found += [State(f"{name}-{fill}-{100 * share:g}", edit, keep, restores) for fill, restores in FILLS.items()]
    return found


@torch.inference_mode()
def mean_activation(model: Model, layer: int, facts: pd.DataFrame) -> Tensor:
    """Mean absolute input of W by neuron over all tokens of the facts' prompts, (d_mlp,)."""
    return cut_texts(model, layer, prompt_ids(model.tokenizer, facts)).keys.float().abs().mean(0)
