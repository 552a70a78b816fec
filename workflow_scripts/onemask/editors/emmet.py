"""EMMET (Gupta et al. 2024, "A Unified Framework for Model Editing"): ROME's equality constraint for many facts at once.

Its layers, keys, targets z and spreading are MEMIT's; only the solution of a layer differs.
"""

from dataclasses import dataclass

from onemask.editors.base import Edited, Task, require_definite
from onemask.editors.memit import Keys, SpreadSettings, edit_jointly, in_span
from onemask.editors.second_moment import SecondMoment


@dataclass(frozen=True)
class Settings(SpreadSettings):
    """EMMET's hyperparameters.

    mom2_update_weight: C stands for mom2_update_weight times the second moment. emmet_lambda: added to the diagonal of
    K^T C^-1 K where several facts are edited.
    """

    mom2_update_weight: float
    emmet_lambda: float


def constrained_keys(keys: Keys, moment: SecondMoment, weight: float, emmet_lambda: float) -> Keys:
    """A = C^-1 K (K^T C^-1 K)^-1, so that (W + T A^T) K = W K + T: the constraint holds exactly while C's keys move least.

    C is `weight` times the second moment. With several facts, emmet_lambda I is added to the
    inner matrix, which near duplicates would make singular; the constraint then holds nearly (as in the authors' code).
    """
    return in_span(keys, moment.solve(keys) / weight, emmet_lambda if keys.shape[1] > 1 else 0.0)


def edit(task: Task, settings: Settings) -> Edited:
    """All facts in one edit of `layers`, as `memit.edit`."""
    require_definite(task.moments.values())
    weight, lam = settings.mom2_update_weight, settings.emmet_lambda
    return edit_jointly(task, settings, lambda keys, moment: constrained_keys(keys, moment, weight, lam))
