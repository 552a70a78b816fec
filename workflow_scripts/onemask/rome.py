"""ROME (Meng et al. 2022) as EasyEdit runs it, for many facts at once; method.md section 2.

Exact savings: positions before the lookup position (the subject's last token) never see `delta`, so their keys and values
behind the edited layer are computed once; each step runs only the positions from the lookup on through the blocks behind the
edited layer, and the LM head only where a target or the KL term reads it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from onemask.edits import FactoredEdits
from onemask.errors import OnemaskError
from onemask.forward import KeyValuePrefix, KeyValueRecorder, causal_mask, embed, logits_at, run_blocks
from onemask.models import Model
from onemask.tokens import batches, encode_target, encode_with_subject, pad


@dataclass(frozen=True)
class RomeSettings:
    """Hyperparameters under their EasyEdit names' meaning; `steps` counts loss evaluations (one more than updates)."""

    layer: int
    steps: int
    lr: float
    weight_decay: float
    kl_factor: float
    clamp_norm_factor: float
    loss_threshold: float
    batch_tokens: int


@dataclass(frozen=True)
class RomeResult:
    """Edits in the order of the facts, with the last loss, the number of losses computed, |delta| and the loss traces."""

    edits: FactoredEdits
    steps: Tensor
    loss: Tensor
    delta_norm: Tensor
    traces: list[list[float]]


@dataclass(frozen=True)
class Rows:
    """The texts of one fact: its templates, then the KL text. `lookup` and `targets` index tokens of the row."""

    ids: list[list[int]]
    lookup: list[int]
    target: list[int]


def fact_rows(model: Model, fact: dict, templates: list[str]) -> Rows:
    """Tokens of every template filled with the fact and its new object, and of "{subject} is a"."""
    target = encode_target(model.tokenizer, fact["target_new"])
    ids, lookup = [], []
    for template in templates:
        prompt, position = encode_with_subject(model.tokenizer, fact["prompt"], fact["subject"], template)
        ids.append(prompt + target[:-1])
        lookup.append(position)
    kl_ids, kl_position = encode_with_subject(model.tokenizer, "{} is a", fact["subject"])
    return Rows([*ids, kl_ids[: kl_position + 1]], [*lookup, kl_position], target)


@dataclass(frozen=True)
class Suffixes:
    """What a batch of facts needs in every step; rows are fact-major, `rows_per_fact` each (templates, then KL).

    hidden: block `layer`'s output from the lookup position on, (rows, length, d_model). valid: the cached prefix's mask,
    (rows, prefix). cache: keys and values of the prefix, right-aligned. positions: (rows, length).
    key: input of W at the lookup position, value: its output there, (facts, rows_per_fact, d).
    target_rows, target_positions, target_ids: where a target's token is read, (targets,); target_weight: 1 / (templates x
    tokens of the target).
    """

    hidden: Tensor
    valid: Tensor
    cache: dict[int, tuple[Tensor, Tensor]]
    positions: Tensor
    key: Tensor
    value: Tensor
    target_rows: Tensor
    target_positions: Tensor
    target_ids: Tensor
    target_weight: Tensor
    rows_per_fact: int


def _right_aligned(tensor: Tensor, lengths: Tensor, longest: int, dim: int) -> Tensor:
    """Move the first `lengths[i]` entries of row i along `dim` to the end of a block of `longest` entries."""
    index = torch.arange(longest, device=tensor.device)[None] - (longest - lengths[:, None])
    shape = [1] * tensor.dim()
    shape[0], shape[dim] = index.shape
    expanded = index.clamp(min=0).view(shape).expand(*[longest if d == dim else n for d, n in enumerate(tensor.shape)])
    return tensor.gather(dim, expanded)


def prepare(model: Model, layer: int, facts: list[Rows]) -> Suffixes:
    """One whole forward pass over the texts of `facts`, cut at the lookup position."""
    device = model.device
    per_fact = len(facts[0].ids)
    tokens = pad([row for fact in facts for row in fact.ids])
    ids, lengths = tokens.ids.to(device), tokens.lengths.to(device)
    lookup = torch.tensor([position for fact in facts for position in fact.lookup], device=device)
    rows = torch.arange(len(ids), device=device)
    seen, recorder = {}, KeyValueRecorder()
    matrix = model.matrix(layer)
    hook = matrix.register_forward_hook(lambda _, args, out: seen.update(key=args[0][rows, lookup], value=out[rows, lookup]))
    try:
        mask, positions = causal_mask(lengths, ids.shape[1]), torch.arange(ids.shape[1], device=device)[None]
        hidden = run_blocks(model, embed(model, ids), range(layer + 1), mask, positions)
        # the last block's output is not needed: only the keys and values behind the edited layer are
        run_blocks(model, hidden, range(layer + 1, model.layers), mask, positions, recorder)
    finally:
        hook.remove()
    longest_prefix, longest_suffix = int(lookup.max()), int((lengths - lookup).max())
    suffix = (lookup[:, None] + torch.arange(longest_suffix, device=device)).clamp(max=ids.shape[1] - 1)
    cache = {
        at: tuple(_right_aligned(part, lookup, longest_prefix, dim=2) for part in pair) for at, pair in recorder.layers.items()
    }
    reads = [
        (i * per_fact + t, length - len(fact.target) + n - position, token, 1 / ((per_fact - 1) * len(fact.target)))
        for i, fact in enumerate(facts)
        for t, (length, position) in enumerate(zip(map(len, fact.ids[:-1]), fact.lookup[:-1], strict=True))
        for n, token in enumerate(fact.target)
    ]
    target_rows, target_positions, target_ids, weight = (
        torch.tensor(column, device=device) for column in zip(*reads, strict=True)
    )
    return Suffixes(
        hidden=hidden[rows[:, None], suffix],
        valid=torch.arange(longest_prefix, device=device)[None] >= longest_prefix - lookup[:, None],
        cache=cache,
        positions=suffix,
        key=seen["key"].view(len(facts), per_fact, -1),
        value=seen["value"].view(len(facts), per_fact, -1),
        target_rows=target_rows,
        target_positions=target_positions,
        target_ids=target_ids,
        target_weight=weight,
        rows_per_fact=per_fact,
    )


def select(suffixes: Suffixes, facts: Tensor) -> Suffixes:
    """The part of a batch that belongs to `facts` (ascending indices)."""
    per_fact = suffixes.rows_per_fact
    rows = (facts[:, None] * per_fact + torch.arange(per_fact, device=facts.device)).flatten()
    new_row = torch.full((len(suffixes.hidden),), -1, device=facts.device)
    new_row[rows] = torch.arange(len(rows), device=facts.device)
    reads = new_row[suffixes.target_rows] >= 0
    return Suffixes(
        hidden=suffixes.hidden[rows],
        valid=suffixes.valid[rows],
        cache={at: (keys[rows], values[rows]) for at, (keys, values) in suffixes.cache.items()},
        positions=suffixes.positions[rows],
        key=suffixes.key[facts],
        value=suffixes.value[facts],
        target_rows=new_row[suffixes.target_rows[reads]],
        target_positions=suffixes.target_positions[reads],
        target_ids=suffixes.target_ids[reads],
        target_weight=suffixes.target_weight[reads],
        rows_per_fact=per_fact,
    )


def losses(model: Model, suffixes: Suffixes, delta: Tensor, layer: int) -> tuple[Tensor, Tensor]:
    """NLL of the new object, (facts,), and log-probabilities at the KL text's lookup position, (facts, vocabulary)."""
    facts, per_fact = len(delta), suffixes.rows_per_fact
    hidden = suffixes.hidden.clone()
    hidden[:, 0] = hidden[:, 0] + delta.repeat_interleave(per_fact, 0).to(hidden.dtype)
    length = hidden.shape[1]
    mask = causal_mask(suffixes.positions[:, 0], length, suffixes.valid)
    cache = KeyValuePrefix(suffixes.cache)
    hidden = run_blocks(model, hidden, range(layer + 1, model.layers), mask, suffixes.positions, cache)
    read = hidden[suffixes.target_rows, suffixes.target_positions]
    at_kl = hidden[per_fact - 1 :: per_fact, 0]
    log_probs = logits_at(model, torch.cat([read, at_kl])).log_softmax(-1)
    chosen = log_probs[: len(read)].gather(1, suffixes.target_ids[:, None])[:, 0] * suffixes.target_weight
    nll = -torch.zeros(facts, device=delta.device).index_add(0, suffixes.target_rows // per_fact, chosen)
    return nll, log_probs[len(read) :]


def optimise(model: Model, suffixes: Suffixes, settings: RomeSettings) -> tuple[Tensor, Tensor, Tensor, list[list[float]]]:
    """`delta` (facts, d_model) of every fact, its last loss, its number of losses, and the traces of the losses.

    A fact stops as soon as its loss falls below the threshold and then leaves the batch; the others go on unaffected.
    """
    facts = len(suffixes.key)
    initial_norm = suffixes.value[:, 0].float().norm(dim=1)
    bound = settings.clamp_norm_factor * initial_norm
    delta = torch.zeros(facts, model.d_model, device=model.device, requires_grad=True)
    optimiser = torch.optim.Adam([delta], lr=settings.lr, foreach=False)
    found, last_loss = torch.zeros_like(delta), torch.zeros(facts)
    traces: list[list[float]] = [[] for _ in range(facts)]
    active, initial = torch.arange(facts, device=model.device), None
    for step in range(settings.steps):
        nll, kl_now = losses(model, suffixes, delta[active], settings.layer)
        initial = kl_now.detach() if initial is None else initial
        divergence = (kl_now.exp() * (kl_now - initial)).sum(1)
        decay = settings.weight_decay * delta[active].norm(dim=1) / initial_norm[active] ** 2
        loss = nll + settings.kl_factor * divergence + decay
        for fact, value in zip(active.tolist(), loss.tolist(), strict=True):
            traces[fact].append(value)
        done = (loss < settings.loss_threshold).detach() if step + 1 < settings.steps else torch.ones_like(loss, dtype=torch.bool)
        ended = active[done]
        found[ended], last_loss[ended.cpu()] = delta.detach()[ended], loss.detach()[done].cpu()
        if done.all():
            break
        optimiser.zero_grad()
        loss[~done].sum().backward()
        optimiser.step()
        with torch.no_grad():
            norm = delta.norm(dim=1, keepdim=True)
            delta.copy_(torch.where(norm > bound[:, None], delta * (bound[:, None] / norm), delta))
        if done.any():
            stay = torch.nonzero(~done)[:, 0]
            suffixes, active, initial = select(suffixes, stay), active[stay], initial[stay]
    return found, last_loss, torch.tensor([len(trace) for trace in traces]), traces


def rank_one(suffixes: Suffixes, delta: Tensor) -> tuple[Tensor, Tensor]:
    """u (facts, d_mlp) and r (facts, d_model) that send the bare prompt's key to its value plus `delta`.

    u is the mean key over the templates, normalised (no second-moment adjustment, as in the paper's settings). The first
    template is "{}", so its key and output are those of the bare prompt: v_init = m, hence r = delta / (k* . u).
    """
    keys = suffixes.key[:, :-1].float()
    u = keys.mean(1)
    u = u / u.norm(dim=1, keepdim=True)
    return u, delta / (keys[:, 0] * u).sum(1, keepdim=True)


def edit(
    model: Model,
    facts: list[dict],
    templates: list[str],
    settings: RomeSettings,
    progress: Callable[[int], None] = lambda done: None,
) -> RomeResult:
    """One rank-one edit a fact, each on its own, computed in batches of similar length (EasyEdit: `execute_rome`).

    facts: dicts with prompt, subject, target_new. templates: the first must be "{}". progress: told the number of facts
    done after each batch.

    Raises OnemaskError when the first template is not "{}" or a fact cannot be encoded.
    """
    if not templates or templates[0] != "{}":
        raise OnemaskError('"{}" as the first template', repr(templates[:1]), "Make the templates again.")
    rows = [fact_rows(model, fact, templates) for fact in facts]
    costs = [sum(len(ids) for ids in fact.ids) for fact in rows]
    parts: dict[int, tuple] = {}
    for group in batches(costs, settings.batch_tokens):
        with torch.no_grad():
            suffixes = prepare(model, settings.layer, [rows[i] for i in group])
        with torch.enable_grad():
            delta, loss, steps, traces = optimise(model, suffixes, settings)
        u, r = rank_one(suffixes, delta)
        for at, index in enumerate(group):
            parts[index] = (u[at].cpu(), r[at].cpu(), steps[at], loss[at], delta[at].norm().cpu(), traces[at])
        progress(len(parts))
    u, r, steps, loss, norms, traces = zip(*(parts[i] for i in range(len(facts))), strict=True)
    edits = FactoredEdits(settings.layer, torch.stack(u), torch.stack(r))
    return RomeResult(edits, torch.stack(steps), torch.stack(loss), torch.stack(norms), list(traces))
