"""What claims are judged by: the artefacts of one model and method as values by fact and state.

Each function returns a frame with case_id, relation_id, split, state and one column a quantity. A value that no single fact has
(a property of the mask, a model without an edit) stands once, as case_id -1.
"""

import numpy as np
import pandas as pd

from onemask.masking.masks import Mask, random_mask, structure
from onemask.masking.names import MAIN
from onemask.summaries.mechanism import LOOKS, NEW_LOOKS, PATCHED, contribution, most_pruned, of_look, patched


def reversal(table: pd.DataFrame, split: str) -> pd.DataFrame:
    """From a `reversal` table; p_true and p_new are of first tokens."""
    return table[["case_id", "relation_id", "state", "kl"]].assign(
        split=split,
        rsr=table["logp_true"] > table["logp_new"],
        success=table["logp_new"] > table["logp_true"],
        top1=table["top1"],
        p_true=np.exp(table["logp_true_first"]),
        p_new=np.exp(table["logp_new_first"]),
    )


def edits(table: pd.DataFrame) -> pd.DataFrame:
    """From an `edits` table of the test split: success before and after, where a failed edit has none."""
    facts = table.drop_duplicates("case_id")
    done = (facts["failure"] == "") & (facts["logp_new_after"] > facts["logp_true_after"])
    states = {"original": facts["logp_new_before"] > facts["logp_true_before"], "edited": done}
    frame = facts[["case_id", "relation_id"]].assign(split="test")
    return pd.concat([frame.assign(state=state, success=success) for state, success in states.items()], ignore_index=True)


def blocking(table: pd.DataFrame) -> pd.DataFrame:
    """From a `blocking` table; the state is the condition, token_accuracy 1 where every token is predicted."""
    frame = table[["case_id", "relation_id", "success"]]
    return frame.assign(split="test", state=table["condition"], token_accuracy=table["token_accuracy"] == 1)


def decomposition(table: pd.DataFrame, relations: pd.Series, layers: list[int]) -> pd.DataFrame:
    """From a `decomposition` table: what the later layers add, and how far from the original model's path they add it.

    The state is a look of `mechanism_measures`. {mlp,attention}_distance: sum over later layers of the absolute difference
    to the original, by the sum of the original's absolute contributions over these layers and both components.
    """
    later = range(layers[-1] + 1, int(table["layer"].max()))
    looks = LOOKS | NEW_LOOKS
    parts = {component: {look: _by_layer(table, look, component, later) for look in looks} for component in ("mlp", "attention")}
    size = sum(part["original"].abs().sum(axis=1) for part in parts.values())
    frames = []
    for look in looks:
        columns = {f"{name}_later": part[look].sum(axis=1) for name, part in parts.items()}
        columns |= {f"{name}_distance": (part[look] - part["original"]).abs().sum(axis=1) / size for name, part in parts.items()}
        columns["mlp_edited"] = contribution(table, look, "mlp", layers)
        frames.append(pd.DataFrame(columns).assign(state=look))
    found = pd.concat(frames).rename_axis("case_id").reset_index()
    return found.assign(relation_id=found["case_id"].map(relations), split="test")


def _by_layer(table: pd.DataFrame, look: str, component: str, layers: range) -> pd.DataFrame:
    chosen = of_look(table, look, component)
    return chosen[chosen["layer"].isin(layers)].pivot(index="case_id", columns="layer", values="exact")


def attention(table: pd.DataFrame, layers: list[int]) -> pd.DataFrame:
    """From an `attention` table: mean over heads and later layers."""
    later = table[table["layer"] > layers[-1]]
    grouped = later.groupby(["state", "case_id"], sort=False, as_index=False)
    return grouped.agg(relation_id=("relation_id", "first"), subject_attention=("weight", "mean")).assign(split="test")


def patching(table: pd.DataFrame) -> pd.DataFrame:
    """From a `patching` table: every later layer's component replaced; the state is the component, or "none"."""
    columns = ["case_id", "relation_id", "top1", "rsr"]
    frames = [patched(table, component)[columns].assign(split="test", state=component) for component in PATCHED]
    return pd.concat(frames, ignore_index=True)


def perplexity(table: pd.DataFrame) -> pd.DataFrame:
    """From a `perplexity` table."""
    return table[["case_id", "state"]].assign(
        relation_id="", split="test", perplexity=np.exp(table["nll"]), log_perplexity=table["nll"]
    )


def update_magnitude(table: pd.DataFrame) -> pd.DataFrame:
    """From an `update_magnitude` table; the state is "all" places or the "pruned" ones."""
    frames = [
        table[["case_id", "relation_id"]].assign(
            split="test", state=state, norm=table[f"norm_{state}"], mean=table[f"mean_{state}"], high_magnitude=share
        )
        for state, share in (("all", np.nan), ("pruned", table["high_magnitude"]))
    ]
    return pd.concat(frames, ignore_index=True)


def mask(found: Mask, seed: int) -> pd.DataFrame:
    """Of the mask itself, and of a random one of equal share; top5_pruned: the least share of its five most pruned outputs."""
    rows = []
    for state, keep in ((MAIN, found.keep), ("random", random_mask(found.keep, seed))):
        top = most_pruned(structure(Mask(found.layer, keep, found.theta)))
        rows.append({"state": state, "pruned": found.pruned, "top5_pruned": float(top["pruned"].min())})
    return pd.DataFrame(rows).assign(case_id=-1, relation_id="", split="all")
