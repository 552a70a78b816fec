"""From rows by fact to rows of the `measures` table: a value, its 95% bootstrap interval over facts, and n."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from onemask.editors.verdicts import FAILED

RESAMPLES = 2000


def bootstrap_interval(values: np.ndarray, strata: np.ndarray, seed: int) -> tuple[float, float]:
    """95% percentile interval of the mean, resampling facts within each stratum (relation)."""
    generator = np.random.default_rng(seed)
    sums = np.zeros(RESAMPLES)
    for stratum in np.unique(strata):
        inside = values[strata == stratum]
        sums += inside[generator.integers(0, len(inside), (RESAMPLES, len(inside)))].sum(1)
    low, high = np.percentile(sums / len(values), [2.5, 97.5])
    return float(low), float(high)


def relation_by_case(table: pd.DataFrame) -> pd.Series:
    """relation_id by case_id, of a table in which facts stand several times."""
    return table.drop_duplicates("case_id").set_index("case_id")["relation_id"]


def measure(metric: str, values: pd.Series, relations: pd.Series, seed: int, **key: Any) -> list[dict]:
    """Rows of the mean over all facts (relation "all") and over each relation, none where there is no fact.

    `key` fills model, method, split, state and further columns of the table `measures`.
    """
    if values.empty:
        return []
    rows = []
    groups = [("all", np.ones(len(values), dtype=bool))] + [
        (name, (relations == name).to_numpy()) for name in sorted(relations.unique())
    ]
    numbers = values.to_numpy(dtype=float)
    for relation, inside in groups:
        low, high = bootstrap_interval(numbers[inside], relations.to_numpy()[inside], seed)
        rows.append(
            {**EMPTY, **key, "seed": seed, "metric": metric, "value": numbers[inside].mean(), "ci_low": low, "ci_high": high}
            | {"n": int(inside.sum()), "relation": relation}
        )
    return rows


def single(metric: str, value: float, n: int, seed: int, relation: str = "all", **key: Any) -> dict:
    """One row without an interval (a count, a share of weights, a p-value)."""
    row = {**EMPTY, **key, "seed": seed, "metric": metric, "value": float(value), "ci_low": math.nan, "ci_high": math.nan}
    return row | {"n": int(n), "relation": relation}


# columns that most rows leave empty
EMPTY = {
    **{"layer": None, "state": "", "parametrisation": "", "share": None},
    **{"training_edits": None, "trained_on": "", "item": ""},
}
# what no two rows of a table share
KEY = ["model", "method", "split", "seed", *EMPTY, "metric", "relation"]
UNMASKED = ("original", "edited", "layer_zeroed")  # states that are the same beside every mask
LABELS = ("parametrisation", "share", "trained_on")  # what sets states of one name apart


def by_state(table: pd.DataFrame, mask: Mapping[str, Any] | None = None) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """The rows of each state, with the columns that say which it is. mask: what sets its rows apart (MaskPlan.columns)."""
    names = ["state", *(name for name in LABELS if name in table)]
    for values, part in table.groupby(names, sort=False, dropna=False):
        columns = dict(zip(names, values, strict=True))
        yield columns | dict(mask if mask and columns["state"] not in UNMASKED else {}), part


def pruned_measures(pruned: Iterable[tuple[Mapping[str, Any], float]], seed: int, **key: Any) -> list[dict]:
    """Rows of the share of weights that each mask removes; the columns of its state stand before the share."""
    return [single("pruned", share, 1, seed, split="all", **columns, **key) for columns, share in pruned]


def pruned_of_states(states: Iterable[str], share: float, mask: Mapping[str, Any]) -> list[tuple[dict[str, Any], float]]:
    """States by name that a mask (or its random control) makes, with the share of weights that each removes."""
    covered = sorted(set(states) - {"original", "edited", "clipped"})
    zeroed = "layer_zeroed"
    return [({"state": state} | dict(mask if state != zeroed else {}), 1.0 if state == zeroed else share) for state in covered]


def reversal_measures(
    table: pd.DataFrame, split: str, seed: int, mask: Mapping[str, Any] | None = None, **key: Any
) -> list[dict]:
    """RSR (whole object and first token), Top-1 overlap, KL and editing success by state and relation.

    table: `reversal`, `pruning` or `transfer`. mask: as in `by_state`.
    """
    rows = []
    for columns, part in by_state(table, mask):
        values = {
            "rsr": part["logp_true"] > part["logp_new"],
            "rsr_first_token": part["logp_true_first"] > part["logp_new_first"],
            "top1": part["top1"],
            "kl": part["kl"],
            "success": part["logp_new"] > part["logp_true"],
        }
        for metric, column in values.items():
            rows += measure(metric, column, part["relation_id"], seed, **key, **columns, split=split)
    return rows


def neighborhood_measures(table: pd.DataFrame, split: str, seed: int, **key: Any) -> list[dict]:
    """Mean over facts of the share of their neighbourhood prompts with P(o) > P(o*), and with the original model's Top-1.

    table: `reversal`, a row a neighbourhood prompt and state.
    """
    rows = []
    judged = table.assign(neighborhood=(table["logp_true"] > table["logp_new"]).astype(float), neighborhood_top1=table["top1"])
    for columns, part in by_state(judged):
        by_fact = part.groupby("case_id").agg({"relation_id": "first", "neighborhood": "mean", "neighborhood_top1": "mean"})
        for metric in ("neighborhood", "neighborhood_top1"):
            rows += measure(metric, by_fact[metric], by_fact["relation_id"], seed, **key, **columns, split=split)
    return rows


def perplexity_measures(table: pd.DataFrame, seed: int, mask: Mapping[str, Any] | None = None, **key: Any) -> list[dict]:
    """Mean perplexity over edits by state, with its interval over edits (none where the state needs no edit).

    table: `perplexity` or `pruning_perplexity`. mask: as in `by_state`.
    """
    rows = []
    for columns, part in by_state(table, mask):
        where = {**key, **columns, "split": "perplexity"}
        values = np.exp(part["nll"])
        if len(part) == 1:
            rows.append(single("perplexity", values.iloc[0], 1, seed, **where))
        else:
            rows += measure("perplexity", values, pd.Series("all", index=part.index), seed, **where)[:1]
    return rows


def blocking_measures(table: pd.DataFrame, seed: int, mask: Mapping[str, Any], **key: Any) -> list[dict]:
    """Editing success by state and relation: P(o*) > P(o), and the share of edits with all tokens right.

    mask: as in `by_state`.
    """
    rows = []
    for columns, part in by_state(table, mask):
        for metric, column in (("success", part["success"]), ("token_accuracy", part["token_accuracy"] == 1)):
            rows += measure(metric, column, part["relation_id"], seed, **key, **columns, split="test")
    return rows


def editing_measures(table: pd.DataFrame, split: str, seed: int, **key: Any) -> list[dict]:
    """Editing success by relation: P(o*) > P(o), and the share of edits with all tokens right; failed edits count as neither.

    table: `edits` of one method and split. Beside them the numbers of edits, of failed and of unstable ones, the mean number of
    losses computed, and the mean relative error of the factors where the update was of higher rank.
    """
    facts = table.drop_duplicates("case_id")
    where = {**key, "state": "edited", "split": split}
    stands = facts["failure"] == ""
    rows = measure("success", stands & (facts["logp_new_after"] > facts["logp_true_after"]), facts["relation_id"], seed, **where)
    rows += measure("token_accuracy", stands & (facts["token_accuracy"] == 1), facts["relation_id"], seed, **where)
    rows.append(single("edits", len(facts), len(facts), seed, **where))
    rows.append(single("failed", (facts["verdict"] == FAILED).sum(), len(facts), seed, **where))
    rows.append(single("unstable", facts["unstable"].sum(), len(facts), seed, **where))
    rows.append(single("steps", facts["steps"].mean(), len(facts), seed, **where))
    rows.append(single("truncation", facts["truncation"].mean(), len(facts), seed, **where))
    return rows


def confidence_measures(table: pd.DataFrame, split: str, seed: int, **key: Any) -> list[dict]:
    """Table 3: P(o) in the original against P(o*) in the edited model, first token, paired over facts.

    Wilcoxon signed-rank (one-sided, greater) and Cohen's d of the paired difference (ddof = 1). table: `reversal`.
    """
    from scipy import stats  # a second to load, which most jobs have no use for

    original = table[table["state"] == "original"].set_index("case_id")
    edited = table[table["state"] == "edited"].set_index("case_id").loc[original.index]
    before, after = np.exp(original["logp_true_first"]), np.exp(edited["logp_new_first"])
    where = {**key, "split": split}
    difference = after - before
    test = stats.wilcoxon(after, before, alternative="greater")
    rows = [
        *measure("p_original", before, original["relation_id"], seed, state="original", **where),
        single("p_original_sd", before.std(ddof=1), len(before), seed, state="original", **where),
        *measure("p_edited", after, edited["relation_id"], seed, state="edited", **where),
        single("p_edited_sd", after.std(ddof=1), len(after), seed, state="edited", **where),
        single("p_value", test.pvalue, len(after), seed, state="edited", **where),
        single("cohens_d", difference.mean() / difference.std(ddof=1), len(after), seed, state="edited", **where),
    ]
    return rows


def fact_measures(
    splits: dict[str, pd.DataFrame], leaked: dict[str, int], knowledge: pd.DataFrame | None, seed: int, **key: Any
) -> list[dict]:
    """Tables 4 and 5: facts, relations, unique objects, subjects and mappings, facts leaked from training, and facts
    dropped by relation because the model does not know them (`knowledge`, or None where all are edited).
    """
    rows = []
    for split, facts in splits.items():
        where = {**key, "method": "", "split": split}
        counts = {
            "facts": len(facts),
            "relations": facts["relation_id"].nunique(),
            "unique_objects": facts["target_true"].nunique(),
            "unique_subjects": facts["subject"].nunique(),
            "unique_mappings": len(facts[["target_true", "target_new"]].drop_duplicates()),
            "facts_shared_with_training": leaked[split],
        }
        rows += [single(metric, value, len(facts), seed, **where) for metric, value in counts.items()]
        if knowledge is not None:
            known = knowledge[knowledge["split"] == split]
            for relation, part in [("all", known), *known.groupby("relation_id")]:
                rows.append(single("facts_dropped", (~part["known"]).sum(), len(part), seed, relation, **where))
                rows.append(single("facts_edited", part["known"].sum(), len(part), seed, relation, **where))
    return rows
