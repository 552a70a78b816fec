"""The masks of a run by name: what sets each apart from the main one. No heavy import, since rules read it."""

MAIN = "shared"  # the mask that a run is about; the others belong to its studies
PARAMETRISATIONS = ("sigmoid", "hard-concrete", "topk")


def of_share(parametrisation: str, share: float) -> str:
    """Name of a mask with an exact budget, as "topk-5"."""
    return f"{parametrisation}-{100 * share:g}"


def folds(relations: list[str], count: int) -> list[list[str]]:
    """Every relation in one of `count` parts of nearly equal size."""
    return [relations[part::count] for part in range(count)]


def names(studies: dict, parametrisation: str) -> list[str]:
    """All masks of a run's main method: the main one, and those that its studies ask for. parametrisation: the main mask's."""
    found = [MAIN]
    found += [of_share(kind, share) for kind in studies["parametrisations"] for share in studies["shares"]]
    found += [of_share(parametrisation, share) for share in studies["blocking_shares"]]
    found += [f"fold{part}" for part in range(studies["folds"])]
    found += ["shuffled"] * studies["shuffled"]
    found += [f"edits{count}" for count in studies["training_edits"]]
    return list(dict.fromkeys(found))


def plan(name: str, studies: dict, relations: list[str]) -> dict:
    """How a mask is trained and measured, beside the run's mask settings.

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
        found["left_out"] = folds(relations, studies["folds"])[int(name.removeprefix("fold"))]
    elif name.startswith("edits"):
        found["edits"] = int(name.removeprefix("edits"))
        found["settings"] = {"cut": "share"}
    return found
