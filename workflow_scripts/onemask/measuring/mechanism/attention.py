"""How much the last prompt position attends to the subject's last token, where an edit writes: weights by layer and head."""

import contextlib
from collections.abc import Generator

import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import AttentionInterface
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from onemask.io.batching import IN_MEMORY, Work, run_batches
from onemask.measuring.schemas import ATTENTION
from onemask.measuring.states import State, in_state
from onemask.model.edits import LayerEdits
from onemask.model.forward import causal_mask, embed, run_blocks
from onemask.model.models import Model
from onemask.model.scoring import fact_batches
from onemask.model.tokens import encode_with_subject, pad

SCHEMA = ATTENTION

RECORDING = "onemask_recording"


def weights_of(
    query: Float[Tensor, "rows heads length d_head"],
    keys: Float[Tensor, "rows key_heads length d_head"],
    mask: Bool[Tensor, "rows 1 length length"],
    scaling: float,
    at: Int[Tensor, " rows"],
) -> Float[Tensor, "rows heads length"]:
    """Attention weights of one position `at` a row, in float32 at least.

    keys: each shared by a group of query heads. mask: true where a query may look.
    """
    rows = torch.arange(len(at), device=at.device)
    keys = keys.repeat_interleave(query.shape[1] // keys.shape[1], dim=1)
    scores = torch.einsum("rhd,rhld->rhl", query[rows, :, at], keys) * scaling
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32)).masked_fill(~mask[rows, :, at], -torch.inf)
    return scores.softmax(-1)


@contextlib.contextmanager
def recorded(model: Model, at: Int[Tensor, " rows"]) -> Generator[list[Tensor], None, None]:
    """Within the block every attention layer that runs adds its `weights_of` position `at` to the list."""
    by_layer: list[Tensor] = []

    def record(module, query, key, value, attention_mask, scaling=None, **others):
        by_layer.append(weights_of(query, key, attention_mask, scaling or query.shape[-1] ** -0.5, at))
        return ALL_ATTENTION_FUNCTIONS["sdpa"](module, query, key, value, attention_mask, scaling=scaling, **others)

    AttentionInterface.register(RECORDING, record)
    config = model.network.config
    before, config._attn_implementation = config._attn_implementation, RECORDING
    try:
        yield by_layer
    finally:
        config._attn_implementation = before


def subject_weights(model: Model, facts: pd.DataFrame) -> Float[Tensor, "facts n_layers heads"]:
    """Weights of the last prompt position on the subject's last token."""
    pairs = [encode_with_subject(model.tokenizer, fact.prompt, fact.subject) for fact in facts.itertuples()]
    tokens = pad([ids for ids, _ in pairs])
    ids, lengths = tokens.ids.to(model.device), tokens.lengths.to(model.device)
    positions = torch.arange(ids.shape[1], device=model.device)[None]
    with recorded(model, lengths - 1) as by_layer:
        run_blocks(model, embed(model, ids), range(model.n_layers), causal_mask(lengths, ids.shape[1]), positions)
    subject = torch.tensor([place for _, place in pairs], device=model.device)
    return torch.stack(by_layer)[:, torch.arange(len(facts), device=model.device), :, subject]


@torch.inference_mode()
def measure(
    model: Model,
    facts: pd.DataFrame,
    edits: LayerEdits,
    states: list[State],
    work: Work = IN_MEMORY,
) -> pd.DataFrame:
    """The `attention` table, in every state."""

    def compute(group: list[int]) -> dict[str, Tensor]:
        by_state = []
        for state in states:
            with in_state(model, edits, state[group]):
                by_state.append(subject_weights(model, facts.iloc[group]).double().cpu())
        return {"weights": torch.stack(by_state, dim=1)}

    weights = run_batches(fact_batches(model, facts, work.batch_tokens), compute, work)["weights"]
    return pd.concat([_table(facts, state.name, weights[:, at]) for at, state in enumerate(states)], ignore_index=True)


def _table(facts: pd.DataFrame, state: str, weights: Float[Tensor, "facts n_layers heads"]) -> pd.DataFrame:
    """Rows of the `attention` table."""
    fact, layer, head = (index.flatten().numpy() for index in torch.meshgrid(*map(torch.arange, weights.shape), indexing="ij"))
    rows = facts[["case_id", "relation_id"]].iloc[fact].reset_index(drop=True)
    return rows.assign(state=state, layer=layer, head=head, weight=weights.flatten().numpy())
