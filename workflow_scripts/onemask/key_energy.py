"""How much the keys of different subjects share in each layer: where one mask may reverse edits that it has not seen.

A ROME edit r u^T acts through the neurons where u^2 is large, u being the normalised key of its subject. For one mask to undo
edits of other subjects these neurons must be the same ones.
"""

from collections.abc import Callable

import pandas as pd
import torch
from torch import Tensor

from onemask.errors import OnemaskError
from onemask.forward import at_least_float32, causal_mask, embed, run_blocks
from onemask.models import Model, require_context
from onemask.progress import counted
from onemask.tokens import batches, encode_with_subject, pad

COMMON = 0.1  # share of neurons whose energy is called common
BATCH_TOKENS = 4096


@torch.inference_mode()
def subject_keys(model: Model, facts: pd.DataFrame, progress: Callable[[int], None] = lambda done: None) -> Tensor:
    """Input of W at the last token of each fact's subject in its prompt, in every layer: (layers, facts, d_mlp), on the CPU."""
    texts = [
        encode_with_subject(model.tokenizer, prompt, subject)
        for prompt, subject in zip(facts["prompt"], facts["subject"], strict=True)
    ]
    require_context(model, max(len(ids) for ids, _ in texts))
    found = torch.empty(model.layers, len(texts), model.d_mlp)
    for group in counted(batches([len(ids) for ids, _ in texts], BATCH_TOKENS), progress):
        tokens = pad([texts[i][0] for i in group])
        ids, lengths = tokens.ids.to(model.device), tokens.lengths.to(model.device)
        at, rows = torch.tensor([texts[i][1] for i in group]), torch.arange(len(group))

        def keep(layer: int, keys: Tensor, group=group, rows=rows, at=at) -> None:
            found[layer, group] = at_least_float32(keys[rows, at]).float().cpu()

        hooks = [
            model.matrix(layer).register_forward_pre_hook(lambda _, args, layer=layer, keep=keep: keep(layer, args[0]))
            for layer in range(model.layers)
        ]
        try:
            positions = torch.arange(ids.shape[1], device=ids.device)[None]
            run_blocks(model, embed(model, ids), range(model.layers), causal_mask(lengths, ids.shape[1]), positions)
        finally:
            for hook in hooks:
                hook.remove()
    return found


def key_energy(keys: Tensor) -> tuple[float, float]:
    """Common energy and mean cosine of keys (facts, d_mlp), each normalised.

    Common energy: sum of mean u_b^2 over the tenth of the neurons b with the largest mean; 0.1 where nothing is shared in a
    wide enough matrix, 1 where a tenth of the neurons holds everything. Cosine: mean over pairs of different facts.
    """
    if len(keys) < 2:
        raise OnemaskError("at least two facts", str(len(keys)), "Give more facts.")
    u = keys.double() / keys.double().norm(dim=1, keepdim=True)
    energy = u.pow(2).mean(0).sort(descending=True).values
    pairs = float(u.sum(0).pow(2).sum()) - len(u)
    return float(energy[: max(1, round(COMMON * len(energy)))].sum()), pairs / (len(u) * (len(u) - 1))


def by_layer(model: Model, facts: pd.DataFrame, progress: Callable[[int], None] = lambda done: None) -> pd.DataFrame:
    """The `key_energy` table: common energy and mean cosine of each layer, from one forward pass over the facts' prompts."""
    keys = subject_keys(model, facts.drop_duplicates("subject"), progress)
    rows = [key_energy(part) for part in keys]
    table = pd.DataFrame(rows, columns=["common_energy", "cosine"])
    return table.assign(layer=range(len(rows)), subjects=keys.shape[1])[["layer", "common_energy", "cosine", "subjects"]]
