"""The splits of the facts: of single edits, and of joint ones. Imports nothing, since rules and tables read it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Split:
    """A part of the facts. role: "train", "test" (the same relations) or "ood" (others). joint: its facts are one edit."""

    name: str
    role: str
    joint: bool


SPLITS = {
    split.name: split
    for split in (
        Split("train", "train", joint=False),
        Split("test", "test", joint=False),
        Split("ood", "ood", joint=False),
        Split("joint_train", "train", joint=True),
        Split("joint_test", "test", joint=True),
    )
}
# facts a relation that the paper uses of the splits its authors released; of their training files it uses the first 300 records
RELEASED_PER_RELATION = {"train": 300, "test": 170, "joint_train": 100, "joint_test": 100}


def split_of(role: str, joint: bool) -> str:
    """Name of the split with a role, of joint or of single edits."""
    (name,) = (split.name for split in SPLITS.values() if (split.role, split.joint) == (role, joint))
    return name
