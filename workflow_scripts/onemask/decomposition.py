"""What each attention and MLP layer adds to a token's logit at the last position (figures 3, 4, 9, 10).

The exact form folds the final norm, whose scale at that position is fixed, so that embedding, every layer and the norm's bias sum
to the logit. The unfolded form is the released code's: the component's output times the unembedding column, no norm.
"""

import pandas as pd
import torch
from torch import Tensor

from onemask.edits import LayerEdits
from onemask.forward import causal_mask, embed, last, run_blocks
from onemask.models import Model
from onemask.scoring import fact_batches, first_tokens
from onemask.states import State, in_state
from onemask.tokens import Padded, pad, prompt_ids


def components(model: Model, tokens: Padded) -> tuple[list[tuple[int, str]], Tensor, Tensor]:
    """Names (layer, component) and outputs (components, rows, d_model) at the last position, and the stream they sum to.

    Layer -1 is the embedding. Call it inside `in_state` for an edited state.
    """
    ids, lengths = tokens.ids.to(model.device), tokens.lengths.to(model.device)
    mask, positions = causal_mask(lengths, ids.shape[1]), torch.arange(ids.shape[1], device=model.device)[None]
    hidden = embed(model, ids)
    names, parts = [(-1, "embedding")], [last(hidden, lengths)]
    for layer in range(model.layers):
        middle = {}
        norm = model.block(layer).get_submodule(model.family.mlp_norm)
        hook = norm.register_forward_pre_hook(lambda _, args, into=middle: into.update(stream=args[0]))
        try:
            after = run_blocks(model, hidden, range(layer, layer + 1), mask, positions)
        finally:
            hook.remove()
        names += [(layer, "attention"), (layer, "mlp")]
        parts += [last(middle["stream"] - hidden, lengths), last(after - middle["stream"], lengths)]
        hidden = after
    return names, torch.stack(parts), last(hidden, lengths)


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
def decompose(
    model: Model,
    facts: pd.DataFrame,
    edits: LayerEdits,
    states: list[State],
    batch_tokens: int,
    as_released: bool = False,
) -> pd.DataFrame:
    """The `decomposition` table of the first tokens of both objects, in every state.

    as_released: as the released code computes (method.md section 6, 1 and 3): objects without their leading space, and the mask
    over every edited layer. Its figures take the column `unfolded` without the first and the last block.
    """
    frames = []
    for group in fact_batches(model, facts, batch_tokens):
        batch = facts.iloc[group]
        tokens = pad(prompt_ids(model.tokenizer, batch))
        for state in states:
            with in_state(model, edits, state[group], mask_everywhere=as_released):
                names, parts, stream = components(model, tokens)
            for token, column in OBJECTS.items():
                columns = model.head.weight[first_tokens(model, batch[column], not as_released)]
                exact, bias = fold(model, parts, stream, columns)
                values = torch.cat([exact, bias[None]])
                unfolded = torch.cat([(parts * columns).sum(-1), torch.zeros_like(bias)[None]])
                rows = [*names, (model.layers, "norm_bias")]
                frames.append(_table(batch, state.name, token, rows, values, unfolded))
    return pd.concat(frames, ignore_index=True)


def _table(
    facts: pd.DataFrame, state: str, token: str, rows: list[tuple[int, str]], exact: Tensor, unfolded: Tensor
) -> pd.DataFrame:
    """Rows of the `decomposition` table from contributions (components, facts)."""
    return pd.DataFrame(
        {
            "case_id": list(facts["case_id"]) * len(rows),
            "state": state,
            "token": token,
            "layer": [layer for layer, _ in rows for _ in range(len(facts))],
            "component": [component for _, component in rows for _ in range(len(facts))],
            "exact": exact.double().cpu().flatten().numpy(),
            "unfolded": unfolded.double().cpu().flatten().numpy(),
        }
    )
