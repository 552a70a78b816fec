"""How large are the updates where the mask prunes, and everywhere (table 8)?"""

import math

import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from onemask.io.batching import IN_MEMORY, Work, run_batches
from onemask.model.edits import JointEdit, LayerEdits


def magnitude(update: Float[Tensor, "d_model d_mlp"], keep: Bool[Tensor, "d_model d_mlp"]) -> dict[str, float]:
    """Columns of the `update_magnitude` table for one update under a hard mask.

    high_magnitude is the share of pruned places among as many places with the largest |dW|: a random mask has the pruned share.
    Of a mask that prunes nothing, mean_pruned and high_magnitude are NaN.
    """
    size, pruned = update.abs(), ~keep.bool()
    count = int(pruned.sum())
    largest = torch.zeros_like(pruned).flatten()
    largest[size.flatten().topk(count).indices] = True
    inside = size[pruned]
    return {
        "mean_all": float(size.double().mean()),
        "mean_pruned": float(inside.double().mean()) if count else math.nan,
        "norm_all": float(size.double().norm()),
        "norm_pruned": float(inside.double().norm()),
        "high_magnitude": float(largest.view_as(pruned)[pruned].double().mean()) if count else math.nan,
    }


def by_edit(
    facts: pd.DataFrame,
    edits: LayerEdits,
    keep: Bool[Tensor, "d_model d_mlp"],
    work: Work = IN_MEMORY,
) -> pd.DataFrame:
    """The `update_magnitude` table: a row a fact, or one row where all facts are one edit."""
    if isinstance(edits.update, JointEdit):
        return pd.DataFrame([{"case_id": -1, "relation_id": "", **magnitude(edits.update.matrix, keep)}])
    update = edits.single

    def compute(group: list[int]) -> dict[str, Tensor]:
        (row,) = group
        values = magnitude(update.dense(row), keep)
        return {name: torch.tensor([value], dtype=torch.float64) for name, value in values.items()}

    columns = run_batches([[row] for row in range(len(update))], compute, work)
    return facts[["case_id", "relation_id"]].assign(**{name: values.numpy() for name, values in columns.items()})
