"""AlphaEdit (Fang et al. 2025): MEMIT's update projected onto the null space of the keys that are to be preserved."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from onemask.editors.base import Edited, Task
from onemask.editors.memit import Keys, SpreadSettings, edit_jointly, in_span
from onemask.editors.second_moment import SecondMoment
from onemask.io.errors import OnemaskError


@dataclass(frozen=True)
class Settings(SpreadSettings):
    """AlphaEdit's hyperparameters.

    null_space_threshold: directions of C with an eigenvalue below it count as its null space. l2: weight of |A|^2.
    """

    null_space_threshold: float
    l2: float


def null_space_projection(
    moment: SecondMoment, threshold: float, device: torch.device | str = "cpu"
) -> Float[Tensor, "d_mlp d_mlp"]:
    """P = V V^T, float64, of the eigenvectors V of C whose eigenvalues are below `threshold`.

    Raises OnemaskError when there is none, or nothing else.
    """
    values, vectors = torch.linalg.eigh(moment.matrix.to(device, torch.float64))
    small = values < threshold
    if not small.any() or small.all():
        raise OnemaskError(
            f"a null_space_threshold that parts the eigenvalues of layer {moment.layer}'s second moment",
            f"{threshold:g}, where they lie between {values[0]:.3g} and {values[-1]:.3g} (median {values.median():.3g})",
            "Choose it for this model: the share of eigenvalues below it is the share of directions that may be written to.",
        )
    basis = vectors[:, small]
    return basis @ basis.T


def projected_keys(keys: Keys, projection: Float[Tensor, "d_mlp d_mlp"], l2: float) -> Keys:
    """A = (P K K^T + l2 I)^-1 P K = P K (K^T P K + l2 I)^-1, so that T A^T changes nothing outside the null space.

    (Fang et al. 2025, equation 14, for the first batch: no keys of earlier edits yet.)
    """
    return in_span(keys, projection.to(keys.device) @ keys, l2)


def edit(task: Task, settings: Settings) -> Edited:
    """All facts in one edit of `layers`, as `memit.edit`."""
    threshold, device = settings.null_space_threshold, task.model.device
    projections = {layer: null_space_projection(task.moments[layer], threshold, device) for layer in settings.layers}
    return edit_jointly(task, settings, lambda keys, moment: projected_keys(keys, projections[moment.layer], settings.l2))
