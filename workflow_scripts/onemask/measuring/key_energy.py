"""How much the keys of different subjects share in each layer: where one mask may reverse edits that it has not seen.

A ROME edit r u^T acts through the neurons where u^2 is large, u being the normalised key of its subject. For one mask to undo
edits of other subjects these neurons must be the same ones.
"""

from collections.abc import Iterator

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from onemask.io.batching import IN_MEMORY, Work, sum_batches
from onemask.io.errors import OnemaskError
from onemask.model.forward import causal_mask, embed, run_blocks
from onemask.model.models import Model, require_context
from onemask.model.tokens import batches, encode_with_subject, pad

COMMON = 0.1  # share of neurons whose energy is called common


@torch.inference_mode()
def subject_keys(model: Model, texts: list[tuple[list[int], int]]) -> Iterator[Float[Tensor, "texts d_mlp"]]:
    """Input of W at one place in each text, layer by layer, on the CPU, float64.

    texts: token ids and the place, as from `encode_with_subject`.
    """
    tokens = pad([ids for ids, _ in texts])
    ids, lengths = tokens.ids.to(model.device), tokens.lengths.to(model.device)
    mask, positions = causal_mask(lengths, ids.shape[1]), torch.arange(ids.shape[1], device=ids.device)[None]
    at, rows = torch.tensor([place for _, place in texts]), torch.arange(len(texts))
    hidden, inputs = embed(model, ids), {}
    for layer in range(model.n_layers):
        with model.matrix(layer).register_forward_pre_hook(lambda _, args: inputs.update(keys=args[0])):
            hidden = run_blocks(model, hidden, range(layer, layer + 1), mask, positions)
        yield inputs["keys"][rows, at].cpu().double()


def key_sums(keys: Float[Tensor, "facts d_mlp"]) -> Float[Tensor, "2 d_mlp"]:
    """Sums over keys, each normalised to u: of u^2 and of u."""
    u = keys / keys.norm(dim=1, keepdim=True)
    return torch.stack([u.pow(2).sum(0), u.sum(0)])


def key_energy(sums: Float[Tensor, "2 d_mlp"], facts: int) -> tuple[float, float]:
    """Common energy and mean cosine of the keys of `facts` facts, from their `key_sums`.

    Common energy: sum of mean u_b^2 over the tenth of the neurons b with the largest mean; 0.1 where nothing is shared in a
    wide enough matrix, 1 where a tenth of the neurons holds everything. Cosine: mean over pairs of different facts.
    """
    if facts < 2:
        raise OnemaskError("at least two facts", str(facts), "Give more facts.")
    energy = (sums[0] / facts).sort(descending=True).values
    pairs = float(sums[1].pow(2).sum()) - facts
    return float(energy[: max(1, round(COMMON * len(energy)))].sum()), pairs / (facts * (facts - 1))


def by_layer(model: Model, facts: pd.DataFrame, work: Work = IN_MEMORY) -> pd.DataFrame:
    """The `key_energy` table: common energy and mean cosine of each layer, from one forward pass over the facts' prompts.

    facts: the first of each subject counts.
    """
    facts = facts.drop_duplicates("subject")
    texts = [encode_with_subject(model.tokenizer, fact.prompt, fact.subject) for fact in facts.itertuples()]
    require_context(model, max(len(ids) for ids, _ in texts))

    def compute(group: list[int]) -> dict[str, Tensor]:
        return {"sums": torch.stack([key_sums(keys) for keys in subject_keys(model, [texts[i] for i in group])])}

    groups = batches([len(ids) for ids, _ in texts], work.batch_tokens)
    rows = [key_energy(sums, len(texts)) for sums in sum_batches(groups, compute, work)["sums"]]
    table = pd.DataFrame(rows, columns=["common_energy", "cosine"])
    return table.assign(layer=range(len(rows)), subjects=len(texts))[["layer", "common_energy", "cosine", "subjects"]]
