"""The masks of a run by name: what sets each apart from the main one. No heavy import, since rules read it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MAIN = "shared"  # the mask that a run is about; the others belong to its studies


@dataclass(frozen=True)
class MaskPlan:
    """How a mask is trained and measured, beside the run's mask settings.

    state: what tables call the edited model under it. settings: overrides. left_out: relations whose edits are not trained on,
    and on which alone the mask is measured. shuffled: original and edited change places in a random half of the edits.
    training_edits: their number, None for all; where there are fewer, epochs are added until the mask takes about as many steps
    as with all. parametrisation, share: of a study's mask; "" and None of the run's own. random: is a random mask of its share
    measured beside it? controls: are the other controls too?
    """

    state: str = MAIN
    settings: Mapping[str, Any] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    shuffled: bool = False
    training_edits: int | None = None
    parametrisation: str = ""
    share: float | None = None
    random: bool = False
    controls: bool = False

    @property
    def columns(self) -> dict[str, Any]:
        """What sets its rows apart in the table `measures`."""
        return {"parametrisation": self.parametrisation, "share": self.share, "training_edits": self.training_edits}


def of_share(parametrisation: str, share: float) -> str:
    """Name of a mask with an exact budget, as "topk-5"."""
    return f"{parametrisation}-{100 * share:g}"


def of_edits(count: int) -> str:
    """Name of a mask of so many training edits."""
    return f"edits{count}"


def of_fold(part: int) -> str:
    """Name of the mask that one of the parts of the relations is left out of."""
    return f"fold{part}"


def folds(relations: Sequence[str], count: int) -> list[list[str]]:
    """Every relation in one of `count` parts of nearly equal size."""
    return [list(relations[part::count]) for part in range(count)]


def plans_of_shares(parametrisation: str, shares: Sequence[float]) -> dict[str, MaskPlan]:
    """Masks with exact budgets by name."""
    return {
        of_share(parametrisation, share): MaskPlan(
            settings={"parametrisation": parametrisation, "s_max": share, "cut": "share"},
            parametrisation=parametrisation,
            share=share,
            random=True,
        )
        for share in shares
    }


def plans(studies: Any, parametrisation: str, relations: Sequence[str]) -> dict[str, MaskPlan]:
    """All masks of a run's main method by name: the main one, and those that its studies ask for.

    studies: the run's key `studies` (onemask.config.settings.Studies). parametrisation: the main mask's.
    """
    planned = {MAIN: MaskPlan(random=True, controls=True)}
    for kind in studies.parametrisations:
        planned |= plans_of_shares(kind, studies.shares)
    planned |= plans_of_shares(parametrisation, studies.blocking_shares)
    for part, left_out in enumerate(folds(relations, studies.folds)):
        planned[of_fold(part)] = MaskPlan(state="left_out", left_out=tuple(left_out))
    if studies.shuffled:
        planned["shuffled"] = MaskPlan(state="shuffled", shuffled=True)
    for count in studies.training_edits:
        planned[of_edits(count)] = MaskPlan(training_edits=count, settings={"cut": "share"})
    return planned
