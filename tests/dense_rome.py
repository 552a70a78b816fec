"""ROME as written down, nothing saved: one fact, whole texts, dense matrices, hooks on the plain transformers model.

The yardstick of the batched and cached implementation (method.md section 2).
"""

import torch

from onemask.models import Model
from onemask.tokens import encode_target, encode_with_subject


def run(model: Model, ids: list[int], layer: int, position: int, delta: torch.Tensor | None = None):
    """Logits of one text, and the input and output of W at `position`; `delta` is added to that output."""
    seen = {}

    def hook(_, args, output):
        seen["key"], seen["value"] = args[0][0, position].detach(), output[0, position].detach()
        if delta is None:
            return None
        changed = output.clone()
        changed[0, position] += delta
        return changed

    handle = model.matrix(layer).register_forward_hook(hook)
    try:
        logits = model.network(torch.tensor([ids])).logits[0]
    finally:
        handle.remove()
    return logits, seen["key"], seen["value"]


def edit(model: Model, fact: dict, templates: list[str], settings) -> tuple[torch.Tensor, torch.Tensor, list[float]]:
    """u, r and the loss trace of one edit."""
    layer = settings.layer
    target = encode_target(model.tokenizer, fact["target_new"])
    texts = [encode_with_subject(model.tokenizer, fact["prompt"], fact["subject"], template) for template in templates]
    kl_ids, kl_position = encode_with_subject(model.tokenizer, "{} is a", fact["subject"])
    with torch.no_grad():
        keys = [run(model, ids, layer, position)[1] for ids, position in texts]
        _, key, value = run(model, texts[0][0], layer, texts[0][1])
        initial = run(model, kl_ids, layer, kl_position)[0][kl_position].log_softmax(-1)
    u = torch.stack(keys).mean(0)
    u = u / u.norm()
    delta = torch.zeros(model.d_model, dtype=value.dtype, requires_grad=True)
    optimiser = torch.optim.Adam([delta], lr=settings.lr)
    trace = []
    for step in range(settings.steps):
        nll = 0.0
        for ids, position in texts:
            log_probs = run(model, ids + target[:-1], layer, position, delta)[0].log_softmax(-1)
            reads = log_probs[len(ids) - 1 :]
            nll = nll - sum(reads[n, token] for n, token in enumerate(target)) / len(target) / len(texts)
        now = run(model, kl_ids, layer, kl_position, delta)[0][kl_position].log_softmax(-1)
        kl = (now.exp() * (now - initial)).sum()
        loss = nll + settings.kl_factor * kl + settings.weight_decay * delta.norm() / value.norm() ** 2
        trace.append(float(loss.detach()))
        if loss < settings.loss_threshold or step + 1 == settings.steps:
            break
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            bound = settings.clamp_norm_factor * value.norm()
            if delta.norm() > bound:
                delta *= bound / delta.norm()
    return u, delta.detach() / (key @ u), trace
