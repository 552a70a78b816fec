"""In which states the edited layer is measured: the trained mask, and the controls that it must beat."""

import contextlib
from collections.abc import Generator
from dataclasses import dataclass

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

    restores: a pruned weight takes its value before the edit instead of zero.
    """

    name: str
    update: Update | None = None
    keep: Shaped[Tensor, "d_model d_mlp"] | None = None
    restores: bool = False

    def __getitem__(self, rows) -> "State":
        return State(self.name, None if self.update is None else self.update[rows], self.keep, self.restores)

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


def transferred(edits: LayerEdits, masks: dict[str, Mask], seed: int) -> list[State]:
    """The edits of one method without a mask, under the masks that were trained on several methods' edits, and a random one.

    masks: by method, after which the states are named. The random mask has the first one's share.
    """
    first, *_ = masks.values()
    keeps = {name: mask.keep for name, mask in masks.items()} | {"random": random_mask(first.keep, seed)}
    return [*unmasked(edits), *(State(name, edits.update, keep.to(edits.device)) for name, keep in keeps.items())]


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


def states_of(edits: LayerEdits, mask: Mask, name: str, random: str | None, seed: int) -> list[State]:
    """What a mask is measured with: the unedited and the edited model, the masked one under the mask's name, and controls.

    random: name of the state with a random mask of the same share, beside which layer_zeroed stands; None for neither. The main
    mask has further controls: random_by_output (equal share in each output dimension), restored (the weights before the edit at
    the pruned places), clipped (the edit's norm reduced as the mask does), unedited_masked (the mask over the unedited model).
    """
    update, keep = edits.update, mask.keep.to(edits.device)
    states = [*unmasked(edits), State(name, update, keep)]
    if random is not None:
        states.append(State(random, update, random_mask(mask.keep, seed).to(edits.device)))
        states.append(State("layer_zeroed", update, torch.zeros_like(keep)))
    if name == MAIN:
        states += [
            State("random_by_output", update, random_mask_by_output(mask.keep, seed).to(edits.device)),
            State("restored", update, keep, restores=True),
            State("clipped", clipped(update, keep)),
            State("unedited_masked", None, keep),
        ]
    return states
