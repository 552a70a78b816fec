"""The residual stream at the last prompt position, by layer and dimension (figures 5 and 13)."""

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from onemask.io.batching import IN_MEMORY, Work, sum_batches
from onemask.measuring.mechanism.decomposition import components
from onemask.measuring.schemas import ACTIVATIONS
from onemask.measuring.states import State, in_state
from onemask.model.edits import LayerEdits
from onemask.model.models import Model
from onemask.model.scoring import fact_batches
from onemask.model.tokens import pad, prompt_ids

SCHEMA = ACTIVATIONS

Sums = Float[Tensor, "embedding_and_layers d_model"]  # over facts


def streams(model: Model, facts: pd.DataFrame) -> Float[Tensor, "embedding_and_layers facts d_model"]:
    """Residual stream behind the embedding and behind each layer at the last position."""
    parts, _ = components(model, pad(prompt_ids(model.tokenizer, facts)))
    return parts.cumsum(0)[0::2]


@torch.inference_mode()
def measure(
    model: Model,
    facts: pd.DataFrame,
    edits: LayerEdits,
    states: list[State],
    work: Work = IN_MEMORY,
) -> pd.DataFrame:
    """The `activations` table: mean, its standard error and mean absolute value over the facts, in every state."""

    def compute(group: list[int]) -> dict[str, Tensor]:
        sums = []
        for state in states:
            with in_state(model, edits, state[group]):
                stream = streams(model, facts.iloc[group]).double().cpu()
            sums.append(torch.stack([stream.sum(1), stream.square().sum(1), stream.abs().sum(1)]))
        return {"sums": torch.stack(sums)}

    sums = sum_batches(fact_batches(model, facts, work.batch_tokens), compute, work)["sums"]
    return pd.concat([_table(state.name, *part, len(facts)) for state, part in zip(states, sums, strict=True)])


def _table(state: str, total: Sums, squares: Sums, absolute: Sums, facts: int) -> pd.DataFrame:
    mean = total / facts
    variance = (squares / facts - mean.square()).clamp(min=0) * facts / max(facts - 1, 1)
    layers, dimensions = (grid.ravel() for grid in np.indices(mean.shape))
    values = {"mean": mean, "sem": (variance / facts).sqrt(), "mean_abs": absolute / facts}
    columns = {name: value.flatten().numpy() for name, value in values.items()}
    return pd.DataFrame({"state": state, "layer": layers - 1, "dimension": dimensions, **columns, "facts": facts})
