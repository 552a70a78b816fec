"""What claims are judged by: the artefacts of one model and method as values by fact and state.

Each function returns a frame with case_id, relation_id, split, state and one column a quantity. A value that no single fact has
(a property of the mask, a model without an edit) stands once, as case_id -1.
"""

import numpy as np
import pandas as pd

from onemask.masking.masks import Mask, random_mask, structure
from onemask.masking.names import MAIN
from onemask.summaries.measures import LABELS
from onemask.summaries.mechanism import LOOKS, NEW_LOOKS, PATCHED, contribution, most_pruned, of_look, patched


def reversal(table: pd.DataFrame, split: str) -> pd.DataFrame:
    """From a `reversal` or `pruning` table; p_true and p_new are of first tokens."""
    labels = [name for name in LABELS if name in table]
    return table[["case_id", "relation_id", "state", *labels, "kl"]].assign(
        split=split,
        rsr=table["logp_true"] > table["logp_new"],
        success=table["logp_new"] > table["logp_true"],
        top1=table["top1"],
        p_true=np.exp(table["logp_true_first"]),
        p_new=np.exp(table["logp_new_first"]),
    )


def beside(reversal: pd.DataFrame, pruned: pd.DataFrame) -> pd.DataFrame:
    """Test facts pruned without training, and what they are read beside: the run's mask, whose rows have no criterion."""
    return pd.concat([reversal[reversal["split"] == "test"].assign(parametrisation="", share=np.nan), pruned])


def edits(table: pd.DataFrame) -> pd.DataFrame:
    """From an `edits` table of the test split: success before and after, where a failed edit has none."""
    facts = table.drop_duplicates("case_id")
    done = (facts["failure"] == "") & (facts["logp_new_after"] > facts["logp_true_after"])
    states = {"original": facts["logp_new_before"] > facts["logp_true_before"], "edited": done}
    frame = facts[["case_id", "relation_id"]].assign(split="test")
    return pd.concat([frame.assign(state=state, success=success) for state, success in states.items()], ignore_index=True)


def blocking(table: pd.DataFrame) -> pd.DataFrame:
    """From a `blocking` table; token_accuracy is 1 where every token is predicted."""
    frame = table[["case_id", "relation_id", "state", "success"]]
    return frame.assign(split="test", token_accuracy=table["token_accuracy"] == 1)


def decomposition(table: pd.DataFrame, relations: pd.Series, layers: list[int]) -> pd.DataFrame:
    """From a `decomposition` table: what the later layers add, and how far from the original model's path they add it.

    token: whose logit, "true" (o) or "new" (o*). {mlp,attention}_distance: sum over later layers of the absolute difference to
    the original's contributions to o, by the sum of their absolute values over these layers and both components.
    """
    later, components = range(layers[-1] + 1, int(table["layer"].max())), ("mlp", "attention")
    parts = {
        component: {look: _by_layer(table, *look, component, later) for look in (*LOOKS, *NEW_LOOKS)} for component in components
    }
    original = ("original", "true")
    size = sum(part[original].abs().sum(axis=1) for part in parts.values())
    frames = []
    for state, token in (*LOOKS, *NEW_LOOKS):
        look = (state, token)
        columns = {f"{name}_later": part[look].sum(axis=1) for name, part in parts.items()}
        columns |= {f"{name}_distance": (part[look] - part[original]).abs().sum(axis=1) / size for name, part in parts.items()}
        columns["mlp_edited"] = contribution(table, state, token, "mlp", layers)
        frames.append(pd.DataFrame(columns).assign(state=state, token=token))
    rows = pd.concat(frames).rename_axis("case_id").reset_index()
    return rows.assign(relation_id=rows["case_id"].map(relations), split="test")


def _by_layer(table: pd.DataFrame, state: str, token: str, component: str, layers: range) -> pd.DataFrame:
    rows = of_look(table, state, token, component)
    return rows[rows["layer"].isin(layers)].pivot(index="case_id", columns="layer", values="exact")


def attention(table: pd.DataFrame, layers: list[int]) -> pd.DataFrame:
    """From an `attention` table: mean over heads and later layers."""
    later = table[table["layer"] > layers[-1]]
    grouped = later.groupby(["state", "case_id"], sort=False, as_index=False)
    return grouped.agg(relation_id=("relation_id", "first"), subject_attention=("weight", "mean")).assign(split="test")


def patching(table: pd.DataFrame) -> pd.DataFrame:
    """From a `patching` table: every later layer's component replaced, or none (state "edited")."""
    columns = ["case_id", "relation_id", "top1", "rsr"]
    frames = [patched(table, component)[columns].assign(split="test", state=state) for state, component in PATCHED.items()]
    return pd.concat(frames, ignore_index=True)


def perplexity(table: pd.DataFrame) -> pd.DataFrame:
    """From a `perplexity` table."""
    return table[["case_id", "state"]].assign(
        relation_id="", split="test", perplexity=np.exp(table["nll"]), log_perplexity=table["nll"]
    )


def update_magnitude(table: pd.DataFrame) -> pd.DataFrame:
    """From an `update_magnitude` table: at all places (state "edited") and at those that the mask prunes ("shared")."""
    frames = [
        table[["case_id", "relation_id"]].assign(
            split="test", state=state, norm=table[f"norm_{places}"], mean=table[f"mean_{places}"], high_magnitude=share
        )
        for state, places, share in (("edited", "all", np.nan), (MAIN, "pruned", table["high_magnitude"]))
    ]
    return pd.concat(frames, ignore_index=True)


def mask(found: Mask, seed: int) -> pd.DataFrame:
    """Of the mask itself, and of a random one of equal share; top5_pruned: the least share of its five most pruned outputs."""
    rows = []
    for state, keep in ((MAIN, found.keep), ("random", random_mask(found.keep, seed))):
        top = most_pruned(structure(Mask(found.layer, keep, found.theta)))
        rows.append({"state": state, "pruned": found.pruned, "top5_pruned": float(top["pruned"].min())})
    return pd.DataFrame(rows).assign(case_id=-1, relation_id="", split="all")
