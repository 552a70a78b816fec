"""A fixed text that has nothing to do with any edit: what a model makes of it tells whether the model still works."""

import torch
from jaxtyping import Float
from torch import Tensor

from onemask.model.edits import FactoredEdits, Update, applied, product
from onemask.model.forward import LayerInput, finish, logits_at, run_to
from onemask.model.models import Model
from onemask.model.scoring import kl_divergence
from onemask.model.tokens import encode, pad

TEXT = (
    "The kettle had just begun to sing when the rain stopped. She opened the window, and the smell of wet grass came in. "
    "On the table lay two letters, a ball of string and half a loaf of bread. Nobody had slept much. If the road was dry by "
    "noon, they would walk to the mill and ask for flour; if not, there was still enough for a day."
)


TOKENS = 32  # of its beginning, for each of many edits


def _ids(model: Model, tokens: int | None = None) -> list[int]:
    return encode(model.tokenizer, TEXT)[: min(tokens or model.n_ctx, model.n_ctx)]


def _log_probs(model: Model, at_layer: LayerInput, update: Update | None = None) -> Float[Tensor, "tokens d_vocab"]:
    output = product(at_layer.keys, model.weight(at_layer.layer), update)
    return logits_at(model, finish(model, at_layer, output)[0]).log_softmax(-1)


@torch.inference_mode()
def mean_nll(model: Model, tokens: int | None = None) -> float:
    """Mean negative log-likelihood (nats) of the text's tokens but the first, or of its first `tokens`."""
    ids = _ids(model, tokens)
    log_probs = _log_probs(model, run_to(model, model.n_layers - 1, pad([ids])))
    return float(torch.nn.functional.nll_loss(log_probs[:-1], torch.tensor(ids[1:], device=model.device)))


@torch.inference_mode()
def divergence_of_each(model: Model, edits: FactoredEdits) -> Float[Tensor, " facts"]:
    """KL(unedited || edited) in nats, the mean over the text's first TOKENS tokens, under each edit alone; float64."""
    at_layer = run_to(model, edits.layer, pad([_ids(model, TOKENS)]))
    reference = _log_probs(model, at_layer)
    each = (_log_probs(model, at_layer, edits[[row]].to(model.device)) for row in range(len(edits)))
    return torch.stack([kl_divergence(reference, log_probs).double().mean().cpu() for log_probs in each])


@torch.inference_mode()
def divergence_of_all(model: Model, edits: list[FactoredEdits]) -> Float[Tensor, ""]:
    """`divergence_of_each` of the sum of all edits in all their layers."""
    tokens, layer = pad([_ids(model, TOKENS)]), model.n_layers - 1
    reference = _log_probs(model, run_to(model, layer, tokens))
    with applied(model, edits):
        return kl_divergence(reference, _log_probs(model, run_to(model, layer, tokens))).double().mean().cpu()
