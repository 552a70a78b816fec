"""The vector `delta` that, added to the residual stream at the subject's last token, makes the model say the new object.

ROME adds it to the MLP's output, MEMIT to the block's: both reach the residual stream behind the block, so one optimisation
serves both; they differ in the norm that bounds it (method.md sections 2 and 3).

Exact savings: the tokens with which a template begins are the same for all facts, and run once a job. Positions before the
lookup position (the subject's last token) never see `delta`, so their keys and values behind the edited layer are computed
once a fact; each step runs only the positions from the lookup on through the blocks behind the edited layer, and the LM head
only where it is read.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from onemask.editors.encodable import KL_PROMPT
from onemask.io.errors import OnemaskError
from onemask.io.placeholder import fill
from onemask.model.forward import KV, KVCache, at_least_float32, causal_mask, embed, logits_at, run_blocks
from onemask.model.models import Model
from onemask.model.tokens import encode_target, encode_with_subject, pad


@dataclass(frozen=True)
class DeltaSettings:
    """Hyperparameters of the optimisation under their EasyEdit names' meaning; config/schemas describes each.

    `steps` counts losses (one more than updates). precision: type of the matrix products in the steps; delta, Adam and losses
    are float32 always. edit_batch_tokens: padded tokens of the templates' texts of the facts optimised together.
    """

    steps: int
    lr: float
    weight_decay: float
    kl_factor: float
    clamp_norm_factor: float
    loss_threshold: float
    precision: str
    edit_batch_tokens: int


@dataclass(frozen=True)
class Texts:
    """Token ids of one fact's texts: each template with the new object (all but its last token), and last the KL text,
    "{subject} is a" up to the subject. lookup: position of the subject's last token in each. target: the new object's ids.
    """

    ids: list[list[int]]
    lookup: list[int]
    target: list[int]

    @property
    def templates(self) -> list[tuple[list[int], int]]:
        """Ids and lookup position of each template's text."""
        return list(zip(self.ids, self.lookup, strict=True))[:-1]

    @property
    def suffix(self) -> int:
        """Tokens from the lookup position on, of the longest text."""
        return max(len(ids) - lookup for ids, lookup in self.templates)


def fact_texts(model: Model, fact: dict, templates: list[str]) -> Texts:
    """Encode one fact under every template; OnemaskError where it cannot be, or is longer than the model's context."""
    target = encode_target(model.tokenizer, fill(fact["prompt"], fact["subject"]), fact["target_new"])
    pairs = [encode_with_subject(model.tokenizer, fact["prompt"], fact["subject"], template) for template in templates]
    kl_ids, kl_lookup = encode_with_subject(model.tokenizer, KL_PROMPT, fact["subject"])
    ids = [*(ids + target[:-1] for ids, _ in pairs), kl_ids[: kl_lookup + 1]]
    longest = max(map(len, ids))
    if longest > model.n_ctx:
        expected = f"texts about {fact['subject']!r} of at most {model.n_ctx} tokens"
        raise OnemaskError(expected, f"{longest}", "Shorten the prompt, or the templates.")
    return Texts(ids, [*(at for _, at in pairs), kl_lookup], target)


def text_groups(texts: list[Texts], budget: int) -> list[list[int]]:
    """Facts with equally long suffixes (all that a step computes) go together, as many as `budget` padded tokens hold."""
    longest = [max(map(len, fact.ids)) for fact in texts]
    order = sorted(range(len(texts)), key=lambda i: (-texts[i].suffix, -longest[i], i))
    groups: list[list[int]] = []
    for index in order:
        group = [*groups[-1], index] if groups else []
        rows = len(texts[index].ids) * len(group)
        same = bool(groups) and texts[groups[-1][0]].suffix == texts[index].suffix
        if same and rows * max(longest[i] for i in group) <= budget:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


@dataclass(frozen=True)
class Suffixes:
    """Texts from their lookup positions on, behind the edited layer's block; nothing in it depends on `delta`.

    hidden: residual stream. cache: keys and values of the prefixes, right-aligned, by layer. valid: true where the cache holds a
    token.
    """

    hidden: Float[Tensor, "rows length d_model"]
    cache: KV
    valid: Bool[Tensor, "rows prefix"]
    positions: Int[Tensor, "rows length"]

    def __getitem__(self, rows: Int[Tensor, " some"]) -> "Suffixes":
        cache = {layer: (keys[rows], values[rows]) for layer, (keys, values) in self.cache.items()}
        return Suffixes(self.hidden[rows], cache, self.valid[rows], self.positions[rows])


@dataclass(frozen=True)
class Batch:
    """What the steps of several facts need. rows: fact-major, `per_fact` each, the templates' texts and then the KL text.

    key, value: input and output of W at the lookup position of every template. target_rows, target_positions, target_ids: where
    a target's token is read; target_weight: 1 / (templates x tokens of the target).
    """

    rows: Suffixes
    key: Float[Tensor, "facts templates d_mlp"]
    value: Float[Tensor, "facts templates d_model"]
    target_rows: Int[Tensor, " reads"]
    target_positions: Int[Tensor, " reads"]
    target_ids: Int[Tensor, " reads"]
    target_weight: Float[Tensor, " reads"]

    @property
    def per_fact(self) -> int:
        return self.key.shape[1] + 1

    @property
    def block_output(self) -> Float[Tensor, "facts d_model"]:
        """Residual stream behind the edited block at the lookup position of the first template."""
        return at_least_float32(self.rows.hidden[:: self.per_fact, 0])


@dataclass(frozen=True)
class Prefixes:
    """The tokens with which each of a fact's texts begins whatever the fact: keys and values in every layer, right-aligned.

    cache: a row a text, empty where nothing is shared.
    """

    cache: KV
    lengths: Int[Tensor, " texts_a_fact"]

    @property
    def longest(self) -> int:
        return int(self.lengths.max())


@torch.no_grad()
def shared_prefixes(model: Model, texts: list[Texts]) -> Prefixes:
    """Run what all facts' texts under the same template have in common before any subject's last token."""
    shared = []
    for t in range(len(texts[0].ids)):
        limit, first = min(fact.lookup[t] for fact in texts), texts[0].ids[t]
        shared.append(next((n for n in range(limit) if any(fact.ids[t][n] != first[n] for fact in texts)), limit))
    lengths = torch.tensor(shared, device=model.device)
    if not any(shared):
        return Prefixes({}, lengths)
    # an empty row would attend to nothing: it keeps one token, which its length hides from those who read it
    tokens = pad([texts[0].ids[t][: max(1, n)] for t, n in enumerate(shared)])
    ids, positions = tokens.ids.to(model.device), torch.arange(tokens.ids.shape[1], device=model.device)[None]
    cache = KVCache({}, record=range(model.n_layers))
    run_blocks(model, embed(model, ids), range(model.n_layers), causal_mask(lengths, ids.shape[1]), positions, cache)
    return Prefixes(_right_aligned(cache.recorded, lengths, max(shared)), lengths)


def _right_aligned(cache: KV, ends: Int[Tensor, " rows"], longest: int) -> KV:
    """The `longest` entries of each row that end before entry ends[i]; what there is not of them is left to a mask."""
    index = (torch.arange(longest, device=ends.device)[None] - (longest - ends[:, None])).clamp(min=0)

    def gathered(part: Tensor) -> Tensor:
        return part.gather(2, index[:, None, :, None].expand(-1, part.shape[1], -1, part.shape[3]))

    return {layer: (gathered(keys), gathered(values)) for layer, (keys, values) in cache.items()}


def run_to_lookup(
    model: Model, layer: int, rows: list[list[int]], lookups: list[int], prefixes: Prefixes
) -> tuple[Suffixes, Float[Tensor, "rows d_mlp"], Float[Tensor, "rows d_model"]]:
    """One forward pass; the suffixes, and input and output of W at the lookup positions.

    Row i begins as text i % texts of `prefixes` does; only what comes behind is run.
    """
    device, every = model.device, torch.arange(len(rows), device=model.device)
    template = every % len(prefixes.lengths)
    known = prefixes.lengths[template]
    tokens = pad([row[start:] for row, start in zip(rows, known.tolist(), strict=True)])
    ids, lengths = tokens.ids.to(device), tokens.lengths.to(device)
    lookup = torch.tensor(lookups, device=device) - known
    start = prefixes.longest if prefixes.cache else 0
    positions = known[:, None] + torch.arange(ids.shape[1], device=device)
    valid_prefix = torch.arange(start, device=device)[None] >= start - known[:, None]
    cache = KVCache(prefixes.cache, template, record=range(layer + 1, model.n_layers))
    at_lookup = {}
    mask = causal_mask(lengths, ids.shape[1], valid_prefix)
    with model.matrix(layer).register_forward_hook(
        lambda _, args, out: at_lookup.update(key=args[0][every, lookup], value=out[every, lookup])
    ):
        hidden = run_blocks(model, embed(model, ids, positions), range(layer + 1), mask, positions, cache)
    before, length = int(lookup.max()), int((lengths - lookup).max())
    kept = prefixes.cache
    if before > 0:
        mask = causal_mask(lengths, before, valid_prefix)
        # of the last block only keys and values are needed
        run_blocks(model, hidden[:, :before], range(layer + 1, model.n_layers), mask, positions[:, :before], cache)
        kept = cache.recorded
    else:
        kept = {at: (keys[template], values[template]) for at, (keys, values) in kept.items() if at > layer}
    at = (lookup[:, None] + torch.arange(length, device=device)).clamp(max=ids.shape[1] - 1)
    prefix = int((known + lookup).max())
    valid = torch.arange(prefix, device=device)[None] >= prefix - (known + lookup)[:, None]
    aligned = _right_aligned(kept, start + lookup, prefix)
    return Suffixes(hidden[every[:, None], at], aligned, valid, positions.gather(1, at)), at_lookup["key"], at_lookup["value"]


@torch.no_grad()
def prepare(model: Model, layer: int, texts: list[Texts], prefixes: Prefixes) -> Batch:
    """Everything about a batch of facts that the steps do not change."""
    per_fact, facts = len(texts[0].ids), len(texts)
    rows, lookups = [ids for fact in texts for ids in fact.ids], [at for fact in texts for at in fact.lookup]
    suffixes, key, value = run_to_lookup(model, layer, rows, lookups, prefixes)
    reads = [
        (i * per_fact + t, len(ids) - len(fact.target) + n - lookup, token, 1 / ((per_fact - 1) * len(fact.target)))
        for i, fact in enumerate(texts)
        for t, (ids, lookup) in enumerate(fact.templates)
        for n, token in enumerate(fact.target)
    ]
    places, weights = [read[:3] for read in reads], [read[3] for read in reads]
    key, value = (part.view(facts, per_fact, -1)[:, :-1] for part in (key, value))
    weights = torch.tensor(weights, device=model.device, dtype=at_least_float32(key[:0]).dtype)
    return Batch(suffixes, key, value, *torch.tensor(places, device=model.device).T, weights)


def select(batch: Batch, facts: Int[Tensor, " some"]) -> Batch:
    """The part of a batch that belongs to `facts` (ascending indices)."""
    rows = (facts[:, None] * batch.per_fact + torch.arange(batch.per_fact, device=facts.device)).flatten()
    new_row = torch.full((len(batch.rows.hidden),), -1, device=facts.device)
    new_row[rows] = torch.arange(len(rows), device=facts.device)
    stays = new_row[batch.target_rows] >= 0
    return Batch(
        rows=batch.rows[rows],
        key=batch.key[facts],
        value=batch.value[facts],
        target_rows=new_row[batch.target_rows[stays]],
        target_positions=batch.target_positions[stays],
        target_ids=batch.target_ids[stays],
        target_weight=batch.target_weight[stays],
    )


def losses(
    model: Model, batch: Batch, delta: Float[Tensor, "facts d_model"], layer: int
) -> tuple[Float[Tensor, " facts"], Float[Tensor, "facts d_vocab"]]:
    """NLL of the new object, and log-probabilities at the KL text's lookup position."""
    rows, per_fact = batch.rows, batch.per_fact
    moved = rows.hidden[:, :1] + delta.repeat_interleave(per_fact, 0)[:, None]
    hidden = torch.cat([moved.to(rows.hidden.dtype), rows.hidden[:, 1:]], dim=1)
    mask = causal_mask(rows.positions[:, 0], hidden.shape[1], rows.valid)
    hidden = run_blocks(model, hidden, range(layer + 1, model.n_layers), mask, rows.positions, KVCache(rows.cache))
    read, at_kl = hidden[batch.target_rows, batch.target_positions], hidden[per_fact - 1 :: per_fact, 0]
    log_probs = logits_at(model, torch.cat([read, at_kl])).log_softmax(-1)
    logp = log_probs[: len(read)].gather(1, batch.target_ids[:, None])[:, 0] * batch.target_weight
    nll = -logp.new_zeros(len(delta)).index_add(0, batch.target_rows // per_fact, logp)
    return nll, log_probs[len(read) :]


@dataclass(frozen=True)
class Optimised:
    """The vector delta of each fact. trace: losses by step, NaN behind the last. failed: where a loss was not finite."""

    delta: Float[Tensor, "facts d_model"]
    trace: Float[Tensor, "facts steps"]
    failed: Bool[Tensor, " facts"]

    @property
    def columns(self) -> dict[str, Tensor]:
        """What an editor keeps of it beside its own result."""
        return {"norm": self.delta.norm(dim=1), "trace": self.trace, "failed": self.failed}


@torch.enable_grad()
def optimise(
    model: Model, batch: Batch, initial: Float[Tensor, "facts d_model"], layer: int, settings: DeltaSettings
) -> Optimised:
    """Minimise the NLL of each fact's new object over its delta, as `settings` say.

    initial: the vector that delta is added to at the first template; |initial| bounds and scales |delta|.
    A fact stops as soon as its loss falls below the threshold, or fails as soon as its loss is not finite, and then leaves
    the batch; the others go on unaffected. (EasyEdit: `compute_v`, `compute_z`.)
    """
    facts = len(initial)
    initial_norm = initial.norm(dim=1)
    bound = settings.clamp_norm_factor * initial_norm[:, None]
    delta = torch.zeros_like(initial, requires_grad=True)
    optimiser = torch.optim.Adam([delta], lr=settings.lr, foreach=False)
    final = torch.zeros_like(delta, requires_grad=False)
    trace = torch.full((facts, settings.steps), torch.nan, dtype=torch.float64)
    failed = torch.zeros(facts, dtype=torch.bool)
    active, reference = torch.arange(facts, device=model.device), None
    for step in range(settings.steps):
        with torch.autocast(model.device.type, torch.bfloat16, enabled=settings.precision == "bfloat16"):
            nll, now = losses(model, batch, delta[active], layer)
        reference = now.detach() if reference is None else reference
        divergence = (now.exp() * (now - reference)).sum(1)
        decay = settings.weight_decay * delta[active].norm(dim=1) / initial_norm[active] ** 2
        loss = nll + settings.kl_factor * divergence + decay
        value, at = loss.detach(), active.cpu()
        broken = ~torch.isfinite(value)
        trace[at, step], failed[at] = value.cpu().double(), broken.cpu()
        ends = (value < settings.loss_threshold) | broken | (step + 1 == settings.steps)
        final[active[ends]] = delta.detach()[active[ends]]
        if ends.all():
            break
        optimiser.zero_grad()
        loss[~ends].sum().backward()
        optimiser.step()
        with torch.no_grad():
            norm = delta.norm(dim=1, keepdim=True)
            delta.copy_(torch.where(norm > bound, delta * (bound / norm), delta))
        if ends.any():
            stay = torch.nonzero(~ends)[:, 0]
            batch, active, reference = select(batch, stay), active[stay], reference[stay]
    failed |= ~torch.isfinite(final).all(1).cpu()
    return Optimised(final, trace, failed)
