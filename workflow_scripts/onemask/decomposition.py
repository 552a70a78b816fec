"""What each attention and MLP layer adds to a token's logit at the last position (figures 3, 4, 9, 10).

The exact form folds the final norm, whose scale at that position is fixed, so that embedding, every layer and the norm's bias sum
to the logit. The unfolded form is the released code's: the component's output times the unembedding column, no norm.
"""

import contextlib

import pandas as pd
import torch
from torch import Tensor

from onemask.edits import LayerEdits, edited_layer
from onemask.forward import causal_mask, embed, last, run_blocks
from onemask.models import Model
from onemask.states import State
from onemask.tokens import Padded, encode, encode_target, pad


def components(model: Model, tokens: Padded) -> tuple[list[tuple[int, str]], Tensor, Tensor]:
    """Names (layer, component) and outputs (components, rows, d_model) at the last position, and the stream they sum to.

    Layer -1 is the embedding. Call it inside `edited_layer` for an edited state.
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


@torch.inference_mode()
def decompose(model: Model, facts: pd.DataFrame, edits: LayerEdits, states: list[State]) -> pd.DataFrame:
    """The `decomposition` table of the first tokens of both objects, in every state."""
    tokens = pad(
        [
            encode(model.tokenizer, prompt.replace("{}", subject))
            for prompt, subject in zip(facts["prompt"], facts["subject"], strict=True)
        ]
    )
    objects = {"true": "target_true", "new": "target_new"}
    frames = []
    for state in states:
        others = contextlib.nullcontext() if state.update is None else edits.others_applied(model)
        with others, edited_layer(model, edits.layer, state.update, state.keep):
            names, parts, stream = components(model, tokens)
        for token, column in objects.items():
            ids = torch.tensor([encode_target(model.tokenizer, text)[0] for text in facts[column]], device=model.device)
            columns = model.head.weight[ids]
            exact, bias = fold(model, parts, stream, columns)
            rows = [*names, (model.layers, "norm_bias")]
            values = torch.cat([exact, bias[None]]).double().cpu()
            unfolded = torch.cat([(parts * columns).sum(-1), torch.zeros_like(bias)[None]]).double().cpu()
            for (at, component), one, other in zip(rows, values, unfolded, strict=True):
                frames.append(
                    pd.DataFrame(
                        {
                            "case_id": facts["case_id"].to_numpy(),
                            "state": state.name,
                            "token": token,
                            "layer": at,
                            "component": component,
                            "exact": one.numpy(),
                            "unfolded": other.numpy(),
                        }
                    )
                )
    return pd.concat(frames, ignore_index=True)
