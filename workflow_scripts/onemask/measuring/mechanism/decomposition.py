"""What each attention and MLP layer adds to a token's logit at the last position (figures 3, 4, 9, 10).

The exact form folds the final norm, whose scale at that position is fixed, so that embedding, every layer and the norm's bias sum
to the logit. The unfolded form is the released code's: the component's output times the unembedding column, no norm.
"""

import itertools
from collections.abc import Callable

import pandas as pd
import torch
from torch import Tensor

from onemask.io.batching import NO_JOURNAL, Journal, nothing, run_batches
from onemask.measuring.schemas import DECOMPOSITION
from onemask.measuring.states import State, in_state
from onemask.model.edits import LayerEdits
from onemask.model.forward import causal_mask, embed, last, run_blocks
from onemask.model.models import Model
from onemask.model.scoring import fact_batches, first_tokens
from onemask.model.tokens import Padded, pad, prompt_ids

SCHEMA = DECOMPOSITION


def names_of(model: Model) -> list[tuple[int, str]]:
    """Layer and name of each of the `components`; layer -1 is the embedding."""
    return [(-1, "embedding"), *((layer, name) for layer in range(model.layers) for name in ("attention", "mlp"))]


def components(model: Model, tokens: Padded) -> tuple[Tensor, Tensor]:
    """Outputs (components, rows, d_model) at the last position, in the order of `names_of`, and the stream they sum to.

    Call it inside `in_state` for an edited state.
    """
    ids, lengths = tokens.ids.to(model.device), tokens.lengths.to(model.device)
    mask, positions = causal_mask(lengths, ids.shape[1]), torch.arange(ids.shape[1], device=model.device)[None]
    hidden = embed(model, ids)
    parts = [last(hidden, lengths)]
    for layer in range(model.layers):
        middle = {}
        norm = model.block(layer).get_submodule(model.family.mlp_norm)
        with norm.register_forward_pre_hook(lambda _, args, into=middle: into.update(stream=args[0])):
            after = run_blocks(model, hidden, range(layer, layer + 1), mask, positions)
        parts += [last(middle["stream"] - hidden, lengths), last(after - middle["stream"], lengths)]
        hidden = after
    return torch.stack(parts), last(hidden, lengths)


def fold(model: Model, parts: Tensor, stream: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Exact contributions (components, rows) to the logits of one token a row, and the norm's bias term (rows,).

    parts: (components, rows, d_model). stream: their sum, (rows, d_model). columns: unembedding vectors (rows, d_model).
    """
    norm = model.final_norm
    eps = getattr(norm, model.family.norm_eps)
    centred = stream
    if model.family.norm_centres:
        parts, centred = parts - parts.mean(-1, keepdim=True), stream - stream.mean(-1, keepdim=True)
    scale = torch.rsqrt(centred.pow(2).mean(-1, keepdim=True) + eps)
    bias = getattr(norm, "bias", None)
    from_bias = torch.zeros(len(stream), device=stream.device) if bias is None else (columns * bias).sum(-1)
    return (parts * scale * norm.weight * columns).sum(-1), from_bias


OBJECTS = {"true": "target_true", "new": "target_new"}


@torch.inference_mode()
def measure(
    model: Model,
    facts: pd.DataFrame,
    edits: LayerEdits,
    states: list[State],
    batch_tokens: int,
    journal: Journal = NO_JOURNAL,
    progress: Callable[[int], None] = nothing,
    as_released: bool = False,
) -> pd.DataFrame:
    """The `decomposition` table of the first tokens of both objects, in every state.

    as_released: as the released code computes (method.md sections 6.1 and 6.3): objects without their leading space, and the mask
    over every edited layer. Its figures take the column `unfolded` without the first and the last block.
    """

    def compute(group: list[int]) -> dict[str, Tensor]:
        batch = facts.iloc[group]
        tokens = pad(prompt_ids(model.tokenizer, batch))
        vectors = [model.head.weight[first_tokens(model, batch[column], not as_released)] for column in OBJECTS.values()]
        found = []
        for state in states:
            with in_state(model, edits, state[group], mask_everywhere=as_released):
                parts, stream = components(model, tokens)
            found += [contributions(model, parts, stream, columns) for columns in vectors]
        return {"exact": torch.stack([exact for exact, _ in found], 1), "unfolded": torch.stack([raw for _, raw in found], 1)}

    values = run_batches(fact_batches(model, facts, batch_tokens), compute, journal, progress)
    shown = itertools.product([state.name for state in states], OBJECTS)
    frames = [
        _table(model, facts, state, token, {form: of[:, at] for form, of in values.items()})
        for at, (state, token) in enumerate(shown)
    ]
    return pd.concat(frames, ignore_index=True)


def contributions(model: Model, parts: Tensor, stream: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Exact and unfolded contributions of every component and, last, of the final norm's bias, (rows, components + 1) each.

    parts, stream, columns: as in `fold`.
    """
    exact, bias = fold(model, parts, stream, columns)
    unfolded = (parts * columns).sum(-1)
    return torch.cat([exact, bias[None]]).T.double(), torch.cat([unfolded, torch.zeros_like(bias)[None]]).T.double()


def _table(model: Model, facts: pd.DataFrame, state: str, token: str, values: dict[str, Tensor]) -> pd.DataFrame:
    """Rows of the `decomposition` table from contributions (facts, components + 1) by form."""
    names = [*names_of(model), (model.layers, "norm_bias")]
    return pd.DataFrame(
        {
            "case_id": list(facts["case_id"]) * len(names),
            "state": state,
            "token": token,
            "layer": [layer for layer, _ in names for _ in range(len(facts))],
            "component": [component for _, component in names for _ in range(len(facts))],
            **{form: of.T.flatten().numpy() for form, of in values.items()},
        }
    )
