"""MEMIT (Meng et al. 2023) as EasyEdit runs it: N facts at once over several layers; method.md section 3."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from onemask.editors.base import Edited, Task, require_definite
from onemask.editors.delta import DeltaSettings, Texts, fact_texts, optimise, prepare, shared_prefixes, text_groups
from onemask.editors.second_moment import SecondMoment
from onemask.io.batching import run_batches
from onemask.io.errors import OnemaskError
from onemask.model.edits import FactoredEdits, weights_restored, write_edits
from onemask.model.forward import at_least_float32, causal_mask, embed, run_blocks
from onemask.model.models import Model
from onemask.model.tokens import pad

Keys = Float[Tensor, "d_mlp facts"]  # float64
Solve = Callable[[Keys, SecondMoment], Keys]  # the adjusted keys A of keys K, such that dW = T A^T for residuals T


@dataclass(frozen=True)
class SpreadSettings(DeltaSettings):
    """What all editors of many facts at once share; layers: ascending, the last is where delta is optimised."""

    layers: list[int]


@dataclass(frozen=True)
class Settings(SpreadSettings):
    """MEMIT's hyperparameters; mom2_update_weight: lambda, the weight of the second moment."""

    mom2_update_weight: float


def adjusted_keys(keys: Keys, moment: SecondMoment, weight: float) -> Keys:
    """A = (lambda C + K K^T)^-1 K, by Woodbury's identity C'^-1 K (I + K^T C'^-1 K)^-1 with C' = lambda C.

    One Cholesky factorisation of C serves every batch; a batch costs a solve of its own size.
    """
    return in_span(keys, moment.solve(keys) / weight, 1.0)


def in_span(keys: Keys, span: Keys, ridge: float) -> Keys:
    """X (K^T X + ridge I)^-1 of keys K and a span X: a system of as many unknowns as facts, not of d_mlp.

    MEMIT, EMMET and AlphaEdit differ in the X that their adjusted keys lie in, and in the ridge.
    """
    inner = keys.T @ span + ridge * torch.eye(keys.shape[1], dtype=keys.dtype, device=keys.device)
    return torch.linalg.solve(inner, span, left=False)


@dataclass(frozen=True)
class Rows:
    """Texts of several facts up to the subject, `templates` each, as they stand before block `layers[0]`."""

    hidden: Float[Tensor, "rows length d_model"]
    lengths: Int[Tensor, " rows"]

    @property
    def layout(self) -> tuple[Bool[Tensor, "rows 1 length length"], Int[Tensor, "1 length"]]:
        """Attention mask and positions."""
        length = self.hidden.shape[1]
        return causal_mask(self.lengths, length), torch.arange(length, device=self.hidden.device)[None]

    def __getitem__(self, rows) -> "Rows":
        return Rows(self.hidden[rows], self.lengths[rows])

    def at_subject(self, values: Float[Tensor, "rows length d"]) -> Float[Tensor, "rows d"]:
        """Values at each row's last token."""
        return values[torch.arange(len(self.lengths), device=values.device), self.lengths - 1]


def _before(model: Model, layer: int, texts: list[Texts]) -> Rows:
    rows = pad([ids[: lookup + 1] for fact in texts for ids, lookup in fact.templates])
    start = Rows(embed(model, rows.ids.to(model.device)), rows.lengths.to(model.device))
    return Rows(run_blocks(model, start.hidden, range(layer), *start.layout), start.lengths)


def mean_key(keys: Float[Tensor, "facts templates d_mlp"]) -> Float[Tensor, "facts d_mlp"]:
    """The bare prompt weighs one half, the other templates share the other half.

    (EasyEdit: `compute_ks`, the mean over the types of templates.)
    """
    return keys[:, 0] if keys.shape[1] == 1 else (keys[:, 0] + keys[:, 1:].mean(1)) / 2


def _through(
    model: Model, layer: int, rows: Rows, per_fact: int
) -> tuple[Float[Tensor, "rows length d_model"], Float[Tensor, "facts d_mlp"]]:
    """Behind the block `layer`: the residual stream of all rows, and the mean key of each fact."""
    at_subject = {}
    with model.matrix(layer).register_forward_pre_hook(lambda _, args: at_subject.update(keys=rows.at_subject(args[0]))):
        hidden = run_blocks(model, rows.hidden, range(layer, layer + 1), *rows.layout)
    return hidden, mean_key(at_least_float32(at_subject["keys"]).view(-1, per_fact, model.d_mlp))


@torch.no_grad()
def insert(
    task: Task, texts: list[list[Texts]], z: Float[Tensor, "facts d_model"], layers: list[int], solve: Solve
) -> list[FactoredEdits]:
    """Spread z, the residual stream to reach behind the last layer, over the layers, from the first on.

    texts: the facts in batches, in order. At each layer, in float64 and in the model as already updated below it: keys K,
    residuals T = (z - current z) / (layers left), dW = T A^T with A = solve(K, C). The model's weights are afterwards what
    they were.
    """
    model, per_fact = task.model, len(texts[0][0].templates)
    edits: list[FactoredEdits] = []
    with weights_restored(model, layers):
        batches = [_before(model, layers[0], part) for part in texts]
        for i, layer in enumerate(layers):
            keys = torch.cat([_through(model, layer, rows, per_fact)[1] for rows in batches])
            now = torch.cat([_current(model, layer, layers[-1], rows[::per_fact]) for rows in batches])
            residual = (z.to(now) - now).double() / (len(layers) - i)
            adjusted = _solved(solve, keys.double().T, task.moments[layer]).T
            edits.append(FactoredEdits(layer, adjusted.to(z.dtype)[:, None], residual.to(z.dtype)[:, None]))
            write_edits(model, [FactoredEdits(layer, adjusted[:, None], residual[:, None])])
            batches = [Rows(_through(model, layer, rows, per_fact)[0], rows.lengths) for rows in batches]
            # blocks between two edited layers
            between = range(layer + 1, layers[i + 1] if i + 1 < len(layers) else layer + 1)
            batches = [Rows(run_blocks(model, rows.hidden, between, *rows.layout), rows.lengths) for rows in batches]
    return [FactoredEdits(part.layer, part.u.cpu(), part.r.cpu()) for part in edits]


def _solved(solve: Solve, keys: Keys, moment: SecondMoment) -> Keys:
    """The adjusted keys; OnemaskError where there are none, or not finite ones."""
    try:
        adjusted = solve(keys, moment)
        finite = bool(torch.isfinite(adjusted).all())
    except torch.linalg.LinAlgError:
        finite = False
    if not finite:
        advice = "Leave out facts with the same subject, or regularise more (see the method's settings)."
        raise OnemaskError(f"a solution for the keys of layer {moment.layer}", "a singular or not finite system", advice)
    return adjusted


def _current(model: Model, layer: int, last: int, bare: Rows) -> Float[Tensor, "facts d_model"]:
    """Residual stream behind block `last` at the subject of the bare prompts."""
    return at_least_float32(bare.at_subject(run_blocks(model, bare.hidden, range(layer, last + 1), *bare.layout)))


def edit_jointly(task: Task, settings: SpreadSettings, solve: Solve) -> Edited:
    """Optimise z for each fact in the unedited model, then write all facts at once (EasyEdit: `execute_memit`).

    Raises OnemaskError when a fact cannot be encoded or layers are not ascending and in range.
    """
    model, layers = task.model, list(settings.layers)
    if layers != sorted(set(layers)):
        raise OnemaskError("ascending layers", str(layers), "Correct `layers` in the config.")
    for layer in layers:
        model.block(layer)
    texts = [fact_texts(model, fact, task.templates) for fact in task.facts]
    prefixes = shared_prefixes(model, texts)
    groups = text_groups(texts, settings.edit_batch_tokens)

    def compute(group: list[int]) -> dict[str, Tensor]:
        batch = prepare(model, layers[-1], [texts[i] for i in group], prefixes)
        result = optimise(model, batch, batch.block_output, layers[-1], settings)
        return {"z": batch.block_output + result.delta, **result.columns}

    parts = run_batches(groups, compute, task.work)
    failed = parts["failed"]
    if failed.all():
        raise OnemaskError("a fact whose loss is finite", "none", "Lower the learning rate, or check the model's weights.")
    written = [[i for i in group if not failed[i]] for group in groups]
    written = [group for group in written if group]
    order = torch.tensor([i for group in written for i in group])
    edits = insert(task, [[texts[i] for i in group] for group in written], parts["z"][order], layers, solve)
    return Edited([_spread(part, order, len(texts)) for part in edits], parts["trace"], parts["norm"], failed)


def _spread(part: FactoredEdits, order: Int[Tensor, " facts"], count: int) -> FactoredEdits:
    """Rows back at their facts' places, zeros for the facts that failed."""
    u, r = (torch.zeros(count, *factor.shape[1:], dtype=factor.dtype).index_copy(0, order, factor) for factor in (part.u, part.r))
    return FactoredEdits(part.layer, u, r)


def edit(task: Task, settings: Settings) -> Edited:
    """All facts in one edit of `layers`; its factors stay by fact, dW_l = sum_i r_i u_i^T."""
    require_definite(task.moments.values())
    return edit_jointly(task, settings, lambda keys, moment: adjusted_keys(keys, moment, settings.mom2_update_weight))
