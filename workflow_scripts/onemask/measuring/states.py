"""In which states the edited layer is measured: the trained mask, and the controls that it must beat."""

import contextlib
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor

from onemask.masking.masks import Mask, random_mask, random_mask_by_output
from onemask.masking.names import MAIN
from onemask.model.edits import FactoredEdits, LayerEdits, Update, edited_layer
from onemask.model.models import Model
from onemask.model.scoring import Probes, Scores, score


@dataclass(frozen=True)
class State:
    """How the layer computes. update: the edits, or None for the unedited model. keep: the mask over W and edits, or None.

    restores: a pruned weight takes its value before the edit instead of zero. labels: columns of tables beside `state`.
    """

    name: str
    update: Update | None = None
    keep: Shaped[Tensor, "d_model d_mlp"] | None = None
    restores: bool = False
    labels: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, rows) -> "State":
        return replace(self, update=None if self.update is None else self.update[rows])

    @property
    def columns(self) -> dict[str, Any]:
        """What says in a table's row which state it is of."""
        return {"state": self.name, **self.labels}

    @property
    def varies(self) -> bool:
        """Is it another one for each fact?"""
        emptied = self.keep is not None and not self.restores and not bool(self.keep.any())
        return isinstance(self.update, FactoredEdits) and not emptied

    def score(self, model: Model, probes: Probes) -> Scores:
        """Score facts, in the order of the update's."""
        return score(model, probes, self.update, self.keep, self.restores)


def unmasked(edits: LayerEdits) -> list[State]:
    """The two states that no mask touches."""
    return [State("original"), State("edited", edits.update)]


def shown(edits: LayerEdits, mask: Mask) -> list[State]:
    """The three states of the paper's analysis: original, edited, and edited under the main mask."""
    return [*unmasked(edits), State(MAIN, edits.update, mask.keep.to(edits.device))]


@contextlib.contextmanager
def in_state(model: Model, edits: LayerEdits, state: State, mask_everywhere: bool = False) -> Generator[None, None, None]:
    """Within the block the model computes in a state (row i of a batch under edit i); afterwards it is what it was.

    mask_everywhere: the mask also covers the other edited layers, for which it was not trained (the release's MEMIT analysis).
    """
    others = contextlib.nullcontext() if state.update is None else edits.others_applied(model)
    with others, edited_layer(model, edits.layer, state.update, state.keep), torch.no_grad():
        if mask_everywhere and state.update is not None and state.keep is not None:
            for part in edits.others:
                model.weight(part.layer).mul_(state.keep)  # others_applied puts the weights back
        yield


def clipped(edits: Update, keep: Shaped[Tensor, "d_model d_mlp"]) -> Update:
    """The edits, each scaled to the norm that the mask leaves of it: is it enough to make an edit smaller?"""
    return edits.scaled(edits.norms(keep) / edits.norms())


def states_of(
    edits: LayerEdits, mask: Mask, seed: int, state: str = MAIN, random: bool = True, controls: bool = True
) -> list[State]:
    """What a mask is measured with: the unedited and the edited model, the edited one under the mask, and controls.

    state: name of the masked one. random: also a random mask of the same share, and layer_zeroed. controls: also
    random_by_output (equal share in each output dimension), restored (the weights before the edit at the pruned places), clipped
    (the edit's norm reduced as the mask does), unedited_masked (the mask over the unedited model).
    """
    update, keep = edits.update, mask.keep.to(edits.device)
    states = [*unmasked(edits), State(state, update, keep)]
    if random:
        states.append(State("random", update, random_mask(mask.keep, seed).to(edits.device)))
        states.append(State("layer_zeroed", update, torch.zeros_like(keep)))
    if controls:
        states += [
            State("random_by_output", update, random_mask_by_output(mask.keep, seed).to(edits.device)),
            State("restored", update, keep, restores=True),
            State("clipped", clipped(update, keep)),
            State("unedited_masked", None, keep),
        ]
    return states


def transferred(edits: LayerEdits, masks: Mapping[str, Mask], seed: int) -> list[State]:
    """Original, edited, edited under masks by the method that each was trained on, and under a random one of equal share."""
    keeps = {method: mask.keep.to(edits.device) for method, mask in masks.items()}
    control = random_mask(next(iter(masks.values())).keep, seed).to(edits.device)
    states = [replace(state, labels={"trained_on": ""}) for state in [*unmasked(edits), State("random", edits.update, control)]]
    return states + [State(MAIN, edits.update, keep, labels={"trained_on": method}) for method, keep in keeps.items()]
