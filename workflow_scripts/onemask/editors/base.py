"""What every editor is given and what it gives back. An editor is a module of this package with

`Settings`, a frozen dataclass of the keys that its entry in config/schemas/methods.schema.yaml describes, and
`edit(task, settings) -> Edited`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from onemask.editors.second_moment import SecondMoment
from onemask.io.batching import Work
from onemask.model.edits import FactoredEdits
from onemask.model.models import Model


@dataclass(frozen=True)
class Task:
    """The facts to edit and all that an editor may use.

    facts: dicts with prompt (holding "{}"), subject, target_true, target_new. templates: context templates, the first is "{}".
    moments: second moments by layer, where the method needs them. work: the journal and callback of the batches, whose size is
    the method's own setting.
    """

    model: Model
    facts: list[dict]
    templates: list[str]
    moments: Mapping[int, SecondMoment] = field(default_factory=dict)
    work: Work = field(default_factory=Work)


@dataclass(frozen=True)
class Edited:
    """An editor's result, everything in the order of the facts.

    layers: the edits of each edited layer. trace: loss at each step, NaN behind an edit's last. delta_norm: norm of what was
    optimised. failed: true where no finite edit was found; its factors are zero. truncation: relative Frobenius error of the
    factors where the update was of higher rank, else 0.
    """

    layers: list[FactoredEdits]
    trace: Float[Tensor, "facts steps"]
    delta_norm: Float[Tensor, " facts"]
    failed: Bool[Tensor, " facts"]
    truncation: Float[Tensor, " facts"] | None = None

    @property
    def steps(self) -> Int[Tensor, " facts"]:
        """Number of losses computed."""
        return (~self.trace.isnan()).sum(1)

    @property
    def loss(self) -> Float[Tensor, " facts"]:
        """The last loss; NaN where there is none."""
        last = (self.steps - 1).clamp(min=0)
        return self.trace.gather(1, last[:, None])[:, 0]


def require_definite(moments: Iterable[SecondMoment]) -> None:
    """Raise OnemaskError, before any expensive work, where a second moment that is to be solved with is singular."""
    for moment in moments:
        _ = moment.cholesky


def without_failed(failed: Bool[Tensor, " facts"], *factors: Float[Tensor, "facts ..."]) -> list[Tensor]:
    """Factors with zeros where the edit failed."""
    return [torch.where(failed.view(-1, *[1] * (part.dim() - 1)), torch.zeros_like(part), part) for part in factors]
