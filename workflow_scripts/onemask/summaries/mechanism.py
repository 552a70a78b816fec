"""From looks into the model and the mask to rows of the `measures` table."""

from typing import Any

import numpy as np
import pandas as pd

from onemask.masking.names import MAIN
from onemask.summaries.measures import measure, relation_by_case, single

TOP = 5  # output dimensions that the paper names; heads too

# whose logit (o: "true", o*: "new") is looked at in which state
LOOKS = (("original", "true"), ("edited", "new"), ("edited", "true"), (MAIN, "true"))
NEW_LOOKS = (("original", "new"), (MAIN, "new"))  # the new object where it is not the answer
PATCHED = {"edited": "none", "patched_attention": "attention", "patched_mlp": "mlp", "patched_both": "both"}  # state -> component


def contributions(table: pd.DataFrame, as_released: bool) -> pd.DataFrame:
    """A `decomposition` table; as_released: as the release draws it, without final norm, embedding, first and last block."""
    if not as_released:
        return table
    inner = table["layer"].between(1, table["layer"].max() - 2)
    return table.assign(exact=table["unfolded"].where(inner, 0.0))


def of_look(table: pd.DataFrame, state: str, token: str, component: str) -> pd.DataFrame:
    """Rows of one component, state and object of a `decomposition` table."""
    return table[(table["state"] == state) & (table["token"] == token) & (table["component"] == component)]


def contribution(table: pd.DataFrame, state: str, token: str, component: str, layers: range | list[int]) -> pd.Series:
    """Sum over some layers of a component's exact contributions in logits, by case_id. table: `decomposition`."""
    rows = of_look(table, state, token, component)
    return rows[rows["layer"].isin(layers)].groupby("case_id")["exact"].sum()


def decomposition_measures(
    table: pd.DataFrame, relations: pd.Series, layers: list[int], split: str, seed: int, **key: Any
) -> list[dict]:
    """Contributions in logits: MLP of the edited layers, MLP and attention of all later ones; `item` says whose logit.

    relations: relation_id by case_id. layers: the edited ones.
    """
    later = range(layers[-1] + 1, int(table["layer"].max()))  # the last is the norm's bias
    parts = {"mlp_edited": ("mlp", layers), "mlp_later": ("mlp", later), "attention_later": ("attention", later)}
    rows, means = [], {}
    for metric, (component, at) in parts.items():
        for state, token in LOOKS:
            values = contribution(table, state, token, component, at)
            rows += measure(metric, values, relations[values.index], seed, **key, state=state, item=token, split=split)[:1]
            means[metric, state, token] = values.mean()
    ratio = means["mlp_edited", "edited", "new"] / means["mlp_edited", "original", "true"]
    return [*rows, single("mlp_edited_ratio", ratio, relations.size, seed, **key, state="edited", split=split)]


def attention_measures(table: pd.DataFrame, layers: list[int], split: str, seed: int, **key: Any) -> list[dict]:
    """Mean over heads and layers behind the edited ones of the last position's attention to the subject's last token."""
    later = table[table["layer"] > layers[-1]]
    rows = []
    for state, part in later.groupby("state", sort=False):
        by_fact = part.groupby("case_id").agg({"relation_id": "first", "weight": "mean"})
        where = {**key, "state": state, "split": split}
        rows += measure("subject_attention", by_fact["weight"], by_fact["relation_id"], seed, **where)[:1]
    return rows


def head_measures(table: pd.DataFrame, split: str, seed: int, **key: Any) -> list[dict]:
    """The heads whose attention weight on the subject's last token the edit raises most, and how the mask leaves them.

    Gains over the original model's weight; `layer` and `item` say which head.
    """
    wide = table.pivot(index=["layer", "head", "case_id"], columns="state", values="weight")
    gains = {"edited": wide["edited"] - wide["original"], MAIN: wide[MAIN] - wide["original"]}
    top = gains["edited"].groupby(["layer", "head"]).mean().sort_values(ascending=False, kind="stable").index[:TOP]
    relations = relation_by_case(table)
    rows = []
    for layer, head in top:
        for state, gain in gains.items():
            values, where = gain.loc[layer, head], {**key, "layer": int(layer), "item": str(head), "state": state, "split": split}
            rows += measure("head_gain", values, relations[values.index], seed, **where)[:1]
    return rows


def patched(table: pd.DataFrame, component: str) -> pd.DataFrame:
    """The facts of a `patching` table with a component of every later layer replaced; "none": nothing.

    rsr: does the original fact return (first token)?
    """
    if component == "none":
        part = table[(table["component"] == "both") & (table["first_layer"] == table["first_layer"].max())]
    else:
        part = table[(table["component"] == component) & (table["first_layer"] == table["first_layer"].min())]
    return part.assign(rsr=part["logp_true_first"] > part["logp_new_first"])


def patching_measures(table: pd.DataFrame, split: str, seed: int, **key: Any) -> list[dict]:
    """RSR (first token) and Top-1 of the edited model, and of it with the original's outputs in later layers."""
    rows = []
    for state, component in PATCHED.items():
        part, where = patched(table, component), {**key, "state": state, "split": split}
        rows += measure("patched_rsr", part["rsr"], part["relation_id"], seed, **where)[:1]
        rows += measure("patched_top1", part["top1"], part["relation_id"], seed, **where)[:1]
    return rows


def most_pruned(structure: pd.DataFrame) -> pd.DataFrame:
    """Rows of the five most pruned output dimensions, most first, the later of equal ones first. structure: `mask_structure`."""
    return structure.sort_values(["pruned", "dimension"], ascending=False).head(TOP)


def structure_measures(structure: pd.DataFrame, layers: list[int], seed: int, **key: Any) -> list[dict]:
    """Figure 12 in numbers: pruned share of the five most pruned output dimensions, and the least of them.

    Beside them the share of the weights of all edited layers, of which the mask covers one.
    """
    where = {**key, "state": MAIN, "split": "all"}
    top = most_pruned(structure)
    rows = [single("output_dimensions", len(structure), len(structure), seed, **where)]
    rows.append(single("pruned_of_edited", structure["pruned"].mean() / len(layers), 1, seed, **where))
    rows.append(single("top5_pruned", top["pruned"].min(), len(top), seed, **where))
    for row in top.itertuples():
        rows.append(single("dimension_pruned", row.pruned, 1, seed, item=str(row.dimension), **where))
    return rows


def magnitude_measures(table: pd.DataFrame, split: str, seed: int, **key: Any) -> list[dict]:
    """Table 8: size of the updates, means over edits: at all places (state "edited"), and where the mask prunes ("shared")."""
    columns = {
        ("update_norm", "edited"): table["norm_all"],
        ("update_norm", MAIN): table["norm_pruned"],
        ("update_mean", "edited"): table["mean_all"],
        ("update_mean", MAIN): table["mean_pruned"],
        ("high_magnitude", MAIN): table["high_magnitude"],
    }
    rows = []
    for (metric, state), values in columns.items():
        where = {**key, "state": state, "split": split}
        if len(values) == 1:
            rows.append(single(metric, values.iloc[0], 1, seed, **where))
        else:
            rows += measure(metric, values, table["relation_id"], seed, **where)[:1]
    return rows


def collapse_measures(table: pd.DataFrame, split: str, seed: int, **key: Any) -> list[dict]:
    """Table 6: perplexity of the edits where it is worst, edited and under the mask, largest first; `item` is the case."""
    by_state = {state: part.set_index("case_id")["nll"] for state, part in table.groupby("state")}
    masked = by_state[MAIN]
    worst = by_state["edited"][masked.index].sort_values(ascending=False).index
    rows = [single("perplexity_original", np.exp(by_state["original"].iloc[0]), 1, seed, state="original", split=split, **key)]
    for case in worst:
        for metric, state, values in (("perplexity_edited", "edited", by_state["edited"]), ("perplexity_pruned", MAIN, masked)):
            rows.append(single(metric, np.exp(values[case]), 1, seed, item=str(case), state=state, split=split, **key))
    return rows


def reached(table: pd.DataFrame, rate: float, split: str, seed: int, **key: Any) -> list[dict]:
    """Figure 14 in numbers: the least pruned share at which RSR is at least `rate`, by criterion and fill (no row where never).

    table: `measures` of rsr by state, parametrisation and share.
    """
    reaching = table[(table["metric"] == "rsr") & (table["relation"] == "all") & (table["value"] >= rate)]
    facts = int(reaching["n"].max()) if len(reaching) else 0
    least = reaching.groupby(["state", "parametrisation"], sort=False)["share"].min()
    return [
        single("share_for_rsr90", share, facts, seed, state=state, parametrisation=criterion, split=split, **key)
        for (state, criterion), share in least.items()
    ]
