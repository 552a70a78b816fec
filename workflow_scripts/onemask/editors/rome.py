"""ROME (Meng et al. 2022) as EasyEdit runs it, for many facts at once; method.md section 2."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from onemask.editors.base import Edited, Task, require_definite, without_failed
from onemask.editors.delta import Batch, DeltaSettings, fact_texts, optimise, prepare, shared_prefixes, text_groups
from onemask.editors.second_moment import SecondMoment
from onemask.io.batching import run_batches
from onemask.model.edits import FactoredEdits
from onemask.model.forward import at_least_float32


@dataclass(frozen=True)
class Settings(DeltaSettings):
    """ROME's hyperparameters; mom2_adjustment: u <- C^-1 u, with the second moment C of the layer's keys."""

    layer: int
    mom2_adjustment: bool


def direction(keys: Float[Tensor, "facts d_mlp"], moment: SecondMoment | None) -> Float[Tensor, "facts d_mlp"]:
    """u = k / |k|, or C^-1 k normalised where there is a second moment."""
    if moment is not None:
        keys = moment.solve(keys.double().T).T.to(keys.dtype)
    return keys / keys.norm(dim=1, keepdim=True)


def rank_one(
    batch: Batch, delta: Float[Tensor, "facts d_model"], moment: SecondMoment | None
) -> tuple[Float[Tensor, "facts d_mlp"], Float[Tensor, "facts d_model"]]:
    """u and r that send the bare prompt's key k* to its value plus `delta`.

    u comes from the mean key over the templates. The first template is "{}", so its key and output are those of the bare
    prompt: v_init = m, hence r = (v* - m) / (k* . u) = delta / (k* . u).
    """
    keys = at_least_float32(batch.key)
    u = direction(keys.mean(1), moment)
    return u, delta / (keys[:, 0] * u).sum(1, keepdim=True)


def edit(task: Task, settings: Settings, solve=rank_one) -> Edited:
    """One rank-one edit a fact, each on its own, computed in batches of equal suffixes (EasyEdit: `execute_rome`).

    solve: the rank-one solution, `rank_one` or that of a variant of ROME.

    Raises OnemaskError when a fact cannot be encoded or the layer is out of range.
    """
    model, layer = task.model, settings.layer
    model.block(layer)
    texts = [fact_texts(model, fact, task.templates) for fact in task.facts]
    prefixes = shared_prefixes(model, texts)
    moment = task.moments[layer] if settings.mom2_adjustment else None
    require_definite([moment] if moment else [])

    def compute(group: list[int]) -> dict[str, Tensor]:
        batch = prepare(model, layer, [texts[i] for i in group], prefixes)
        result = optimise(model, batch, at_least_float32(batch.value[:, 0]), layer, settings)
        u, r = solve(batch, result.delta, moment)
        return {"u": u, "r": r, **result.columns}

    parts = run_batches(text_groups(texts, settings.edit_batch_tokens), compute, task.work)
    failed = parts["failed"] | ~torch.isfinite(parts["r"]).all(1)
    u, r = without_failed(failed, parts["u"][:, None], parts["r"][:, None])
    return Edited([FactoredEdits(layer, u, r)], parts["trace"], parts["norm"], failed)
