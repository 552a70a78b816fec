"""ROME and MEMIT as written down, nothing saved: one fact at a time, whole texts, dense matrices, hooks on the plain model.

The yardstick of the batched and cached editors (method.md sections 2 and 3).
"""

import torch
from torch import Tensor

from onemask.model.models import Model
from onemask.model.tokens import encode_with_subject
from tiny_model import object_ids


def run(model: Model, ids: list[int], layer: int, position: int, delta: Tensor | None = None):
    """Logits of one text, and at `position`: input and output of W, and the block's output. `delta` is added to W's output."""
    seen = {}

    def at_matrix(_, args, output):
        seen["key"], seen["value"] = args[0][0, position].detach(), output[0, position].detach()
        if delta is None:
            return None
        changed = output.clone()
        changed[0, position] += delta
        return changed

    hooks = [
        model.matrix(layer).register_forward_hook(at_matrix),
        model.block(layer).register_forward_hook(lambda _, args, out: seen.update(block=out[0, position].detach())),
    ]
    try:
        logits = model.network(torch.tensor([ids])).logits[0]
    finally:
        for hook in hooks:
            hook.remove()
    return logits, seen


def optimise(model: Model, fact: dict, templates: list[str], settings, layer: int, bounded_by: str) -> tuple[Tensor, list[float]]:
    """delta and the loss trace; |delta| is bounded by the norm of W's output ("value") or of the block's ("block")."""
    target = object_ids(model.tokenizer, fact["target_new"])
    texts = [encode_with_subject(model.tokenizer, fact["prompt"], fact["subject"], template) for template in templates]
    kl_ids, kl_at = encode_with_subject(model.tokenizer, "{} is a", fact["subject"])
    with torch.no_grad():
        norm = run(model, texts[0][0], layer, texts[0][1])[1][bounded_by].norm()
        initial = run(model, kl_ids, layer, kl_at)[0][kl_at].log_softmax(-1)
    delta = torch.zeros(model.d_model, dtype=norm.dtype, requires_grad=True)
    optimiser = torch.optim.Adam([delta], lr=settings.lr)
    trace = []
    for step in range(settings.steps):
        nll = 0.0
        for ids, position in texts:
            log_probs = run(model, ids + target[:-1], layer, position, delta)[0].log_softmax(-1)[len(ids) - 1 :]
            nll = nll - sum(log_probs[n, token] for n, token in enumerate(target)) / len(target) / len(texts)
        now = run(model, kl_ids, layer, kl_at, delta)[0][kl_at].log_softmax(-1)
        kl = (now.exp() * (now - initial)).sum()
        loss = nll + settings.kl_factor * kl + settings.weight_decay * delta.norm() / norm**2
        trace.append(float(loss.detach()))
        if loss < settings.loss_threshold or step + 1 == settings.steps:
            break
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            if delta.norm() > settings.clamp_norm_factor * norm:
                delta *= settings.clamp_norm_factor * norm / delta.norm()
    return delta.detach(), trace


def keys(model: Model, fact: dict, templates: list[str], layer: int) -> Tensor:
    """Input of W at the subject's last token under every template, (templates, d_mlp)."""
    texts = [encode_with_subject(model.tokenizer, fact["prompt"], fact["subject"], template) for template in templates]
    with torch.no_grad():
        return torch.stack([run(model, ids, layer, position)[1]["key"] for ids, position in texts])


def rome(model: Model, fact: dict, templates: list[str], settings, moment: Tensor | None = None):
    """u, r and the loss trace of one edit."""
    delta, trace = optimise(model, fact, templates, settings, settings.layer, "value")
    found = keys(model, fact, templates, settings.layer)
    u = found.mean(0) if moment is None else torch.linalg.inv(moment.to(found)) @ found.mean(0)
    u = u / u.norm()
    return u, delta / (found[0] @ u), trace


def memit(model: Model, facts: list[dict], templates: list[str], settings, moments: dict[int, Tensor]) -> dict[int, Tensor]:
    """The dense update of each layer for all facts at once; the model is afterwards what it was."""
    last = settings.layers[-1]
    bare = [encode_with_subject(model.tokenizer, fact["prompt"], fact["subject"]) for fact in facts]

    def states() -> Tensor:
        with torch.no_grad():
            return torch.stack([run(model, ids, last, position)[1]["block"] for ids, position in bare], dim=1)

    deltas = [optimise(model, fact, templates, settings, last, "block")[0] for fact in facts]
    z, updates = states() + torch.stack(deltas, dim=1), {}
    for i, layer in enumerate(settings.layers):
        by_template = torch.stack([keys(model, fact, templates, layer) for fact in facts])
        k = ((by_template[:, 0] + by_template[:, 1:].mean(1)) / 2).T
        residual = (z - states()) / (len(settings.layers) - i)
        kept = settings.mom2_update_weight * moments[layer].to(k)
        updates[layer] = residual @ torch.linalg.solve(kept + k @ k.T, k).T
        model.weight(layer).add_(updates[layer])
    for layer, update in updates.items():
        model.weight(layer).sub_(update)
    return updates
