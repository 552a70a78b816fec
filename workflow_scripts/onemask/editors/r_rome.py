"""r-ROME (Gupta et al. 2024, "Rebuilding ROME"): ROME with the mean key on both sides of the rank-one solution."""

from jaxtyping import Float
from torch import Tensor

from onemask.editors import rome
from onemask.editors.base import Edited, Task
from onemask.editors.delta import Batch
from onemask.editors.rome import Settings
from onemask.editors.second_moment import SecondMoment
from onemask.model.forward import at_least_float32


def mean_key_solution(
    batch: Batch, delta: Float[Tensor, "facts d_model"], moment: SecondMoment | None
) -> tuple[Float[Tensor, "facts d_mlp"], Float[Tensor, "facts d_model"]]:
    """u and r that send the mean key k over the templates to v* = v_init + delta.

    r = (v* - (W k + b)) / (k . u). W is linear, so W k + b is the mean of its outputs over the templates. ROME itself uses k in
    u, but the bare prompt's key in the numerator and the denominator.
    """
    key, value = at_least_float32(batch.key).mean(1), at_least_float32(batch.value)
    u = rome.direction(key, moment)
    target = value[:, 0] + delta
    return u, (target - value.mean(1)) / (key * u).sum(1, keepdim=True)


def edit(task: Task, settings: Settings) -> Edited:
    """One rank-one edit a fact, as `rome.edit`."""
    return rome.edit(task, settings, mean_key_solution)
