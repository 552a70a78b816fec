"""What each attention and MLP layer adds to a token's logit at the last position (figures 3, 4, 9, 10).

The exact form folds the final norm, whose scale at that position is fixed, so that embedding, every layer and the norm's bias sum
to the logit. The unfolded form is the released code's: the component's output times the unembedding column, no norm.
"""

import itertools

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from onemask.io.batching import IN_MEMORY, Work, run_batches
from onemask.measuring.schemas import DECOMPOSITION
from onemask.measuring.states import State, in_state
from onemask.model.edits import LayerEdits
from onemask.model.forward import causal_mask, embed, last, run_blocks
from onemask.model.models import Model
from onemask.model.scoring import fact_batches, first_tokens
from onemask.model.tokens import Padded, pad, prompt_ids

SCHEMA = DECOMPOSITION

Parts = Float[Tensor, "components rows d_model"]
Stream = Float[Tensor, "rows d_model"]  # also unembedding vectors, one a row


def names_of(model: Model) -> list[tuple[int, str]]:
    """Layer and name of each of the `components`; layer -1 is the embedding."""
    return [(-1, "embedding"), *((layer, name) for layer in range(model.n_layers) for name in ("attention", "mlp"))]


def components(model: Model, tokens: Padded) -> tuple[Parts, Stream]:
    """Outputs at the last position, in the order of `names_of`, and the stream they sum to.

    Call it inside `in_state` for an edited state.
    """
    ids, lengths = tokens.ids.to(model.device), tokens.lengths.to(model.device)
    mask, positions = causal_mask(lengths, ids.shape[1]), torch.arange(ids.shape[1], device=model.device)[None]
    hidden = embed(model, ids)
    parts = [last(hidden, lengths)]
    for layer in range(model.n_layers):
        middle = {}
        norm = model.block(layer).get_submodule(model.family.mlp_norm)
        with norm.register_forward_pre_hook(lambda _, args, into=middle: into.update(stream=args[0])):
            after = run_blocks(model, hidden, range(layer, layer + 1), mask, positions)
        parts += [last(middle["stream"] - hidden, lengths), last(after - middle["stream"], lengths)]
        hidden = after
    return torch.stack(parts), last(hidden, lengths)


def fold(
    model: Model, parts: Parts, stream: Stream, columns: Stream
) -> tuple[Float[Tensor, "components rows"], Float[Tensor, " rows"]]:
    """Exact contributions to the logits of one token a row, and the norm's bias term.

    stream: the parts' sum. columns: unembedding vectors of the tokens.
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
    work: Work = IN_MEMORY,
    as_released: bool = False,
) -> pd.DataFrame:
    """The `decomposition` table of the first tokens of both objects, in every state.

    as_released: as the released code computes (method.md sections 6.1 and 6.3): objects without their leading space, and the mask
    over every edited layer. Its figures take the column `unfolded` without the first and the last block.
    """

    def compute(group: list[int]) -> dict[str, Tensor]:
        batch = facts.iloc[group]
        tokens = pad(prompt_ids(model.tokenizer, batch))
        vectors = [model.unembed.weight[first_tokens(model, batch, column, as_released)] for column in OBJECTS.values()]
        by_state_and_token = []
        for state in states:
            with in_state(model, edits, state[group], mask_everywhere=as_released):
                parts, stream = components(model, tokens)
            by_state_and_token += [contributions(model, parts, stream, columns) for columns in vectors]
        exact, unfolded = zip(*by_state_and_token, strict=True)
        return {"exact": torch.stack(exact, 1), "unfolded": torch.stack(unfolded, 1)}

    values = run_batches(fact_batches(model, facts, work.batch_tokens), compute, work)
    shown = itertools.product([state.name for state in states], OBJECTS)
    frames = [
        _table(model, facts, state, token, {form: of[:, at] for form, of in values.items()})
        for at, (state, token) in enumerate(shown)
    ]
    return pd.concat(frames, ignore_index=True)


def contributions(
    model: Model, parts: Parts, stream: Stream, columns: Stream
) -> tuple[Float[Tensor, "rows components_and_bias"], Float[Tensor, "rows components_and_bias"]]:
    """Exact and unfolded contributions of every component and, last, of the final norm's bias.

    parts, stream, columns: as in `fold`.
    """
    exact, bias = fold(model, parts, stream, columns)
    unfolded = (parts * columns).sum(-1)
    return torch.cat([exact, bias[None]]).T.double(), torch.cat([unfolded, torch.zeros_like(bias)[None]]).T.double()


def _table(model: Model, facts: pd.DataFrame, state: str, token: str, values: dict[str, Tensor]) -> pd.DataFrame:
    """Rows of the `decomposition` table from contributions by form, as of `contributions`."""
    names = [*names_of(model), (model.n_layers, "norm_bias")]
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
