"""Facts: sampled by relation into splits that share no subject, or the splits that the paper's authors released."""

from pathlib import Path

import numpy as np
import pandas as pd

from onemask.data.conflicts import without_conflicts
from onemask.data.counterfact import read_counterfact
from onemask.data.splits import RELEASED_PER_RELATION, SPLITS, Split, split_of
from onemask.io.errors import OnemaskError
from onemask.io.problems import Problems

__all__ = ["SPLITS", "Split", "leaks", "refuse_leaks", "released_splits", "sample_splits", "shared_with_training"]


def released_splits(folder: str | Path, relations: list[str], first: dict[str, int] | None = None) -> dict[str, pd.DataFrame]:
    """The splits that the paper's authors released, as they used them (method.md section 1), or less of them.

    first: facts of each relation that are taken from the beginning of a split, by split; all that the paper used where none.

    Raises OnemaskError when a split holds fewer of a relation.
    """

    def read(name: str) -> pd.DataFrame:
        return read_counterfact(Path(folder) / name)

    def joined(kind: str) -> pd.DataFrame:
        return pd.concat([read(f"counterfact_{kind}{relation}.json") for relation in relations], ignore_index=True)

    splits = {
        "train": joined("train"),
        "test": joined("test"),
        "joint_train": read("memit_train_1000s_10rels.json"),
        "joint_test": read("memit_test_1000s_10rels.json"),
    }
    counts = {"train": RELEASED_PER_RELATION["train"]} | (first or {})
    return {name: _first(splits[name], name, counts.get(name)) for name in splits}


def _first(facts: pd.DataFrame, split: str, count: int | None) -> pd.DataFrame:
    if count is None:
        return facts
    sizes = facts["relation_id"].value_counts()
    if sizes.min() < count:
        raise OnemaskError(
            f"{count} facts a relation in the released split {split}",
            f"{sizes.min()} of {sizes.idxmin()}",
            "Lower facts.per_relation.",
        )
    return facts.groupby("relation_id", sort=False).head(count).reset_index(drop=True)


def sample_splits(
    table: pd.DataFrame, relations: list[str], ood_relations: list[str], per_relation: dict[str, int], seed: int
) -> dict[str, pd.DataFrame]:
    """Strata of `per_relation[split]` facts a relation; no subject of a relation is in two splits of one kind of edits.

    The splits of single edits (train, test, ood) and those of joint edits (joint_train, joint_test) are drawn independently of
    each other; a split of size 0 is left out.

    Raises OnemaskError when a relation is unknown or holds too few facts.
    """
    both = set(relations) & set(ood_relations)
    if both:
        raise OnemaskError("OOD relations that are not trained on", f"{sorted(both)} in both lists", "Correct the config.")
    parts: dict[str, list[pd.DataFrame]] = {split: [] for split in SPLITS if per_relation.get(split)}
    for index, relation in enumerate([*relations, *ood_relations]):
        pool = table[table["relation_id"] == relation].drop_duplicates("subject")
        if pool.empty:
            raise OnemaskError(f"facts of relation {relation}", "none", f"Known: {sorted(table['relation_id'].unique())}.")
        home = [split for split in parts if (SPLITS[split].role == "ood") == (relation in ood_relations)]
        for joint in (False, True):
            counts = {split: per_relation[split] for split in home if SPLITS[split].joint == joint}
            if sum(counts.values()) > len(pool):
                raise OnemaskError(
                    f"{sum(counts.values())} facts of {relation} for {' + '.join(counts)}",
                    f"{len(pool)} with distinct subjects",
                    "Lower `per_relation` in the config or add facts.",
                )
            order = np.random.default_rng([seed, index, joint]).permutation(len(pool))
            start = 0
            for split, count in counts.items():
                parts[split].append(pool.iloc[np.sort(order[start : start + count])])
                start += count
    return {split: pd.concat(frames, ignore_index=True) for split, frames in parts.items()}


def leaks(splits: dict[str, pd.DataFrame], held_out: str, training: str) -> int:
    """How many (relation, subject) pairs or case ids of one split are also in another."""
    training_pairs, cases = (splits[training][columns] for columns in (["relation_id", "subject"], "case_id"))
    pairs = set(training_pairs.itertuples(index=False, name=None))
    frame = splits[held_out]
    twice = [pair in pairs for pair in frame[["relation_id", "subject"]].itertuples(index=False, name=None)]
    return int((np.array(twice) | frame["case_id"].isin(cases).to_numpy()).sum())


def refuse_leaks(splits: dict[str, pd.DataFrame]) -> None:
    """Raise OnemaskError when two splits of one kind of edits share a case id or a (relation, subject) pair."""
    for held_out in splits:
        for training in splits:
            if training != held_out and SPLITS[training].joint == SPLITS[held_out].joint and leaks(splits, held_out, training):
                raise OnemaskError(
                    "splits that share no fact",
                    f"{leaks(splits, held_out, training)} facts of {training} in {held_out}",
                    "Take another dataset or report the leak.",
                )


def refuse_conflicts(splits: dict[str, pd.DataFrame]) -> None:
    """Raise OnemaskError when a joint split holds two new objects for one prompt and subject, or a fact twice."""
    for split in (split for split in splits if SPLITS[split].joint):
        problems = Problems(f"the split {split}")
        problems.settle(len(without_conflicts(splits[split], problems, joint=True)))


def shared_with_training(splits: dict[str, pd.DataFrame]) -> dict[str, int]:
    """By split, how many of its facts the training split of the same kind of edits holds too (0 for the training splits)."""
    shared = {}
    for split in splits:
        other = split_of("train", SPLITS[split].joint)
        shared[split] = 0 if other == split or other not in splits else leaks(splits, split, other)
    return shared
