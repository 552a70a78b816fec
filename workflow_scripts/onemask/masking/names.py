"""The masks of a run by name: what sets each apart from the main one. No heavy import, since rules read it."""

from collections.abc import Sequence

MAIN = "shared"  # the mask that a run is about; the others belong to its studies
PARAMETRISATIONS = ("sigmoid", "hard-concrete", "topk")


def of_share(parametrisation: str, share: float) -> str:
    """Name of a mask with an exact budget, as "topk-5"."""
    return f"{parametrisation}-{100 * share:g}"


def folds(relations: Sequence[str], count: int) -> list[list[str]]:
    """Every relation in one of `count` parts of nearly equal size."""
    return [list(relations[part::count]) for part in range(count)]


def plan(name: str, relations: Sequence[str], count: int) -> dict:
    """How a mask is trained and measured, beside the run's mask settings. count: the number of folds.

    settings: overrides. left_out: relations whose edits are not trained on, and on which alone the mask is measured.
    shuffled: original and edited change places in a random half of the edits. edits: number of training edits, None for all;
    where there are fewer, epochs are added until the mask takes about as many steps as with all.
    random: name of its random control, None where it has none.
    """
    found = {"settings": {}, "left_out": [], "shuffled": name == "shuffled", "edits": None, "random": None}
    kind, _, percent = name.rpartition("-")
    if name == MAIN:
        found["random"] = "random"
    elif kind in PARAMETRISATIONS:
        found["settings"] = {"parametrisation": kind, "s_max": float(percent) / 100, "cut": "share"}
        found["random"] = f"random-{percent}"
    elif name.startswith("fold"):
        found["left_out"] = folds(relations, count)[int(name.removeprefix("fold"))]
    elif name.startswith("edits"):
        found["edits"] = int(name.removeprefix("edits"))
        found["settings"] = {"cut": "share"}
    return found
