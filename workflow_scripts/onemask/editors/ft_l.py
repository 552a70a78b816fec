"""FT-L: fine-tuning of one matrix within a box around its weights (Zhu et al. 2020; the baseline of Meng et al. 2022).

The negative control of this package: it locates nothing and aims at no key. Its update is dense; what is kept is its best
approximation of a given rank, with the relative error said. Objects of several tokens are learned token by token, as they are
scored (the baseline's code reads all of them at the prompt's last token).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from onemask.editors.base import Edited, Task, without_failed
from onemask.io.batching import run_batches
from onemask.io.placeholder import fill
from onemask.model.edits import FactoredEdits
from onemask.model.forward import LayerInput, at_least_float32, finish_at, logits_at, run_to
from onemask.model.models import Model
from onemask.model.tokens import batches, encode, encode_target, pad

Change = Float[Tensor, "facts d_model d_mlp"]  # of W, by fact


@dataclass(frozen=True)
class Settings:
    """FT-L's hyperparameters; config/schemas describes each. edit_batch_tokens: padded tokens of facts tuned at once."""

    layer: int
    steps: int
    lr: float
    norm_constraint: float
    loss_threshold: float
    rank: int
    edit_batch_tokens: int


@dataclass(frozen=True)
class Targets:
    """Prompts with the new object (all but its last token) at the edited layer, and where its tokens are read."""

    at_layer: LayerInput
    rows: Int[Tensor, " reads"]
    positions: Int[Tensor, " reads"]
    ids: Int[Tensor, " reads"]
    weight: Float[Tensor, " reads"]


def prepare(model: Model, layer: int, prompts: list[list[int]], targets: list[list[int]]) -> Targets:
    """Everything that does not change while W does."""
    at_layer = run_to(model, layer, pad([prompt + target[:-1] for prompt, target in zip(prompts, targets, strict=True)]))
    reads = [
        (i, len(prompt) - 1 + n, token, 1 / len(target))
        for i, (prompt, target) in enumerate(zip(prompts, targets, strict=True))
        for n, token in enumerate(target)
    ]
    rows, positions, ids = torch.tensor([read[:3] for read in reads], device=model.device).T
    weight = torch.tensor([read[3] for read in reads], device=model.device, dtype=at_least_float32(at_layer.base[:0]).dtype)
    return Targets(at_layer, rows, positions, ids, weight)


def losses(model: Model, targets: Targets, change: Change) -> Float[Tensor, " facts"]:
    """Mean negative log-likelihood of each fact's new object, with W + change[i] for fact i."""
    at_layer = targets.at_layer
    keys = at_least_float32(at_layer.keys)
    product = keys @ model.weight(at_layer.layer).to(keys.dtype).T + keys @ change.mT
    hidden = finish_at(model, at_layer, product.to(at_layer.base.dtype), targets.rows, targets.positions)
    log_probs = logits_at(model, hidden).log_softmax(-1)
    logp = log_probs.gather(1, targets.ids[:, None])[:, 0] * targets.weight
    return -logp.new_zeros(len(change)).index_add(0, targets.rows, logp)


@torch.enable_grad()
def tune(
    model: Model, targets: Targets, settings: Settings
) -> tuple[Change, Float[Tensor, "facts steps"], Bool[Tensor, " facts"]]:
    """Change of W by fact, the trace of losses, and where a loss was not finite.

    Adam on each fact's own W; after each step every weight is put back within norm_constraint of its old value. A fact whose
    loss is below the threshold is left as it is. (`execute_ft` of ROME's and EasyEdit's baselines.)
    """
    facts = len(targets.at_layer.lengths)
    shape, dtype = (facts, model.d_model, model.d_mlp), targets.weight.dtype
    change = torch.zeros(shape, device=model.device, dtype=dtype, requires_grad=True)
    optimiser = torch.optim.Adam([change], lr=settings.lr, foreach=False)
    trace = torch.full((facts, settings.steps), torch.nan, dtype=torch.float64)
    done, failed = (torch.zeros(facts, dtype=torch.bool, device=model.device) for _ in range(2))
    for step in range(settings.steps):
        loss = losses(model, targets, change)
        trace[~done.cpu(), step] = loss.detach()[~done].cpu().double()
        failed |= ~done & ~torch.isfinite(loss.detach())
        done |= failed | (loss.detach() < settings.loss_threshold)
        if done.all() or step + 1 == settings.steps:
            break
        optimiser.zero_grad()
        loss[~done].sum().backward()
        before = change.detach()[done].clone()
        optimiser.step()
        with torch.no_grad():
            change.clamp_(-settings.norm_constraint, settings.norm_constraint)
            change[done] = before
    return change.detach(), trace, failed


def truncate(
    change: Change, rank: int
) -> tuple[Float[Tensor, "facts rank d_mlp"], Float[Tensor, "facts rank d_model"], Float[Tensor, " facts"]]:
    """Best approximation of a rank: u, r, and the relative Frobenius error of each fact's."""
    left, values, right = torch.linalg.svd(change, full_matrices=False)
    lost = values[:, rank:].norm(dim=1) / values.norm(dim=1).clamp(min=torch.finfo(values.dtype).tiny)
    return right[:, :rank], (left * values[:, None])[:, :, :rank].mT, lost


def edit(task: Task, settings: Settings) -> Edited:
    """Each fact tuned on its own, in batches.

    Raises OnemaskError when a fact cannot be encoded or the layer is out of range.
    """
    model = task.model
    model.block(settings.layer)
    texts = [fill(fact["prompt"], fact["subject"]) for fact in task.facts]
    prompts = [encode(model.tokenizer, text) for text in texts]
    targets = [encode_target(model.tokenizer, text, fact["target_new"]) for text, fact in zip(texts, task.facts, strict=True)]

    def compute(group: list[int]) -> dict[str, Tensor]:
        prepared = prepare(model, settings.layer, [prompts[i] for i in group], [targets[i] for i in group])
        change, trace, failed = tune(model, prepared, settings)
        (change,) = without_failed(failed, change)
        u, r, lost = truncate(change, settings.rank)
        return {"u": u, "r": r, "lost": lost, "norm": change.flatten(1).norm(dim=1), "trace": trace, "failed": failed}

    lengths = [len(prompt) + len(target) - 1 for prompt, target in zip(prompts, targets, strict=True)]
    parts = run_batches(batches(lengths, settings.edit_batch_tokens), compute, task.work)
    edits = FactoredEdits(settings.layer, parts["u"], parts["r"])
    return Edited([edits], parts["trace"], parts["norm"], parts["failed"], parts["lost"])
