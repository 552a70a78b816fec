"""From looks into the model and the mask to rows of the `measures` table."""

import numpy as np
import pandas as pd

from onemask.masking.names import MAIN
from onemask.summaries.measures import MASK_OF_STATE, measure, relation_by_case, single

TOP = 5  # output dimensions that the paper names; heads too

# name of each look in the column `mask`: whose logit, in which state
LOOKS = {"original": ("original", "true"), "none": ("edited", "new"), "edited_true": ("edited", "true"), MAIN: ("shared", "true")}
PATCHED = ("none", "attention", "mlp", "both")
NEW_LOOKS = {"original_new": ("original", "new"), "shared_new": ("shared", "new")}  # the new object where it is not the answer


def contributions(table: pd.DataFrame, as_released: bool) -> pd.DataFrame:
    """A `decomposition` table; as_released: as the release draws it, without final norm, embedding, first and last block."""
    if not as_released:
        return table
    inner = table["layer"].between(1, table["layer"].max() - 2)
    return table.assign(exact=table["unfolded"].where(inner, 0.0))


def of_look(table: pd.DataFrame, look: str, component: str) -> pd.DataFrame:
    """Rows of one component and look of a `decomposition` table."""
    state, token = (LOOKS | NEW_LOOKS)[look]
    return table[(table["state"] == state) & (table["token"] == token) & (table["component"] == component)]


def contribution(table: pd.DataFrame, look: str, component: str, layers: range | list[int]) -> pd.Series:
    """Sum over some layers of a component's exact contributions in logits, by case_id. table: `decomposition`."""
    chosen = of_look(table, look, component)
    return chosen[chosen["layer"].isin(layers)].groupby("case_id")["exact"].sum()


def decomposition_measures(
    table: pd.DataFrame, relations: pd.Series, layers: list[int], split: str, seed: int, **key: str
) -> list[dict]:
    """Contributions in logits: MLP of the edited layers, MLP and attention of all later ones.

    relations: relation_id by case_id. layers: the edited ones. "edited_true" is the original fact in the edited model.
    """
    later = range(layers[-1] + 1, int(table["layer"].max()))  # the last is the norm's bias
    parts = {"mlp_edited": ("mlp", layers), "mlp_later": ("mlp", later), "attention_later": ("attention", later)}
    rows, edited = [], {}
    for metric, (component, at) in parts.items():
        for look in LOOKS:
            values = contribution(table, look, component, at)
            rows += measure(metric, values, relations[values.index], seed, **key, mask=look, split=split)[:1]
            edited[metric, look] = values.mean()
    ratio = edited["mlp_edited", "none"] / edited["mlp_edited", "original"]
    return [*rows, single("mlp_edited_ratio", ratio, relations.size, seed, **key, mask="none", split=split)]


def attention_measures(table: pd.DataFrame, layers: list[int], split: str, seed: int, **key: str) -> list[dict]:
    """Mean over heads and layers behind the edited ones of the last position's attention to the subject's last token."""
    later = table[table["layer"] > layers[-1]]
    rows = []
    for state, part in later.groupby("state", sort=False):
        by_fact = part.groupby("case_id").agg({"relation_id": "first", "weight": "mean"})
        where = {**key, "mask": MASK_OF_STATE.get(state, state), "split": split}
        rows += measure("subject_attention", by_fact["weight"], by_fact["relation_id"], seed, **where)[:1]
    return rows


def head_measures(table: pd.DataFrame, split: str, seed: int, **key: str) -> list[dict]:
    """The heads whose attention weight on the subject's last token the edit raises most, and how the mask leaves them.

    Gains over the original model's weight; `relation` names layer and head, as "head 23.5".
    """
    wide = table.pivot(index=["layer", "head", "case_id"], columns="state", values="weight")
    gains = {"none": wide["edited"] - wide["original"], MAIN: wide[MAIN] - wide["original"]}
    top = gains["none"].groupby(["layer", "head"]).mean().sort_values(ascending=False, kind="stable").index[:TOP]
    relations = relation_by_case(table)
    rows = []
    for layer, head in top:
        for mask, gain in gains.items():
            values = gain.loc[layer, head]
            (row,) = measure("head_gain", values, relations[values.index], seed, **key, mask=mask, split=split)[:1]
            rows.append(row | {"relation": f"head {layer}.{head}"})
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


def patching_measures(table: pd.DataFrame, split: str, seed: int, **key: str) -> list[dict]:
    """RSR (first token) and Top-1 of the edited model with the original's outputs in later layers, as mask "patched_mlp" etc."""
    rows = []
    for component in PATCHED:
        part = patched(table, component)
        where = {**key, "mask": "none" if component == "none" else f"patched_{component}", "split": split}
        rows += measure("patched_rsr", part["rsr"], part["relation_id"], seed, **where)[:1]
        rows += measure("patched_top1", part["top1"], part["relation_id"], seed, **where)[:1]
    return rows


def most_pruned(structure: pd.DataFrame) -> pd.DataFrame:
    """Rows of the five most pruned output dimensions, most first, the later of equal ones first. structure: `mask_structure`."""
    return structure.sort_values(["pruned", "dimension"], ascending=False).head(TOP)


def structure_measures(structure: pd.DataFrame, layers: list[int], seed: int, **key: str) -> list[dict]:
    """Figure 12 in numbers: pruned share of the five most pruned output dimensions, and the least of them.

    Beside them the share of the weights of all edited layers, of which the mask covers one.
    """
    where = {**key, "mask": MAIN, "split": "all"}
    top = most_pruned(structure)
    rows = [single("output_dimensions", len(structure), len(structure), seed, **where)]
    rows.append(single("pruned_of_edited", structure["pruned"].mean() / len(layers), 1, seed, **where))
    rows.append(single("top5_pruned", top["pruned"].min(), len(top), seed, **where))
    for row in top.itertuples():
        rows.append(single("dimension_pruned", row.pruned, 1, seed, f"dimension {row.dimension}", **where))
    return rows


def magnitude_measures(table: pd.DataFrame, split: str, seed: int, **key: str) -> list[dict]:
    """Table 8: size of the updates at all places (mask "none") and at those that the mask prunes, means over edits."""
    columns = {
        ("update_norm", "none"): table["norm_all"],
        ("update_norm", MAIN): table["norm_pruned"],
        ("update_mean", "none"): table["mean_all"],
        ("update_mean", MAIN): table["mean_pruned"],
        ("high_magnitude", MAIN): table["high_magnitude"],
    }
    rows = []
    for (metric, mask), values in columns.items():
        where = {**key, "mask": mask, "split": split}
        if len(values) == 1:
            rows.append(single(metric, values.iloc[0], 1, seed, **where))
        else:
            rows += measure(metric, values, table["relation_id"], seed, **where)[:1]
    return rows


def collapse_measures(table: pd.DataFrame, split: str, seed: int, **key: str) -> list[dict]:
    """Table 6: perplexity of the edits where it is worst, edited and under the mask, largest first; `relation` names the case."""
    by_state = {state: part.set_index("case_id")["nll"] for state, part in table.groupby("state")}
    masked = by_state[MAIN]
    worst = by_state["edited"][masked.index].sort_values(ascending=False).index
    rows = [single("perplexity_original", np.exp(by_state["original"].iloc[0]), 1, seed, mask="original", split=split, **key)]
    for case in worst:
        for metric, mask, values in (("perplexity_edited", "none", by_state["edited"]), ("perplexity_pruned", MAIN, masked)):
            rows.append(single(metric, np.exp(values[case]), 1, seed, f"case {case}", mask=mask, split=split, **key))
    return rows


def reached(table: pd.DataFrame, rate: float, split: str, seed: int, **key: str) -> list[dict]:
    """Figure 14 in numbers: the least pruned share at which RSR is at least `rate`, by criterion and fill (no row where never).

    table: `measures` of rsr of masks as "update-zero-30".
    """
    chosen = table[(table["metric"] == "rsr") & (table["relation"] == "all") & (table["value"] >= rate)]
    names = chosen["mask"].str.extract(r"^(?P<kind>.+-(?:zero|original))-(?P<percent>[0-9.]+)$").dropna()
    least = names["percent"].astype(float).groupby(names["kind"], sort=False).min()
    facts = int(chosen["n"].max()) if len(chosen) else 0
    return [single("share_for_rsr90", share / 100, facts, seed, mask=kind, split=split, **key) for kind, share in least.items()]
