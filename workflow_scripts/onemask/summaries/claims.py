"""The paper's claims put to the test: a statistic of values by fact, its bound, the control it must beat, and a verdict.

A claim is supported where, over resampled facts, both its bound and its control hold significantly; not supported where one of
them fails significantly; else inconclusive. Significance is of bootstrap p-values, corrected over a run's claims (Holm).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from onemask.io.errors import OnemaskError
from onemask.summaries.measures import relation_by_case

RESAMPLES = 20_000  # 2 / RESAMPLES, the smallest p, must survive the correction over a run's claims: some hundreds
LEVEL = 0.05
FEW = 5  # strata of fewer facts are resampled as one: a fact alone would never vary
ROUNDING = 1e-5  # relative: a share is of whole weights and may exceed its bound by one
VERDICTS = ["supported", "not supported", "inconclusive"]
SELECTS = ("quantity", "split", "state")
LABELS = {"token": "", "parametrisation": "", "share": None}  # what else may say which state, and what is meant unsaid
BOUNDS = {"at_least": (1, ">="), "above": (1, ">"), "at_most": (-1, "<="), "below": (-1, "<")}
UNJUDGED = {"value": math.nan, "ci_low": math.nan, "ci_high": math.nan, "control_value": math.nan, "n": 0, "exact": False}


def _bound(claim: dict) -> tuple[int, str, float]:
    """Side (1: from below), sign and value of a claim's bound."""
    kind = next(kind for kind in BOUNDS if kind in claim)
    return *BOUNDS[kind], claim[kind]


def _select(table: pd.DataFrame, where: Mapping[str, Any]) -> pd.Series:
    """One quantity by case_id in a split and state; empty where the run did not measure it."""
    if where["quantity"] not in table:
        raise OnemaskError(f"a quantity out of {', '.join(table)}", where["quantity"], "Correct the claim in config/claims.yaml.")
    for key in ("split", "state"):
        table = table[table[key] == where[key]]
    for key, unsaid in LABELS.items():
        if key in table:
            label = where.get(key, unsaid)
            table = table[table[key].isna() if label is None else table[key] == label]
    return table.set_index("case_id")[where["quantity"]].astype(float)


def _terms(claim: dict, table: pd.DataFrame) -> dict[str, pd.Series]:
    """The series of a claim's statistic: value, and minus, over, over_minus where it has them.

    minus and over name what differs from the value's quantity, split and state.
    """
    where = {key: claim[key] for key in (*SELECTS, *LABELS) if key in claim}
    found = {"value": _select(table, where)}
    if "minus" in claim:
        found["minus"] = _select(table, where | claim["minus"])
    if "over" in claim:
        over = where | {key: value for key, value in claim["over"].items() if key != "minus"}
        found["over"] = _select(table, over)
        if "minus" in claim["over"]:
            found["over_minus"] = _select(table, over | claim["over"]["minus"])
    return found


def _joined(terms: dict[str, pd.Series]) -> pd.DataFrame:
    """Terms side by side, the facts that all have; a value without a fact (case_id -1) is every fact's."""
    single = {name: values.iloc[0] for name, values in terms.items() if list(values.index) == [-1]}
    several = {name: values for name, values in terms.items() if name not in single}
    if not several:
        return pd.DataFrame({name: [value] for name, value in single.items()}, index=[-1]).dropna()
    return pd.DataFrame(several).assign(**single).dropna()


def draws(strata: np.ndarray, seed: int, resamples: int) -> np.ndarray:
    """How often each fact stands in each resample, (resamples, facts): with replacement within its stratum."""
    generator, counts = np.random.default_rng(seed), np.empty((resamples, len(strata)))
    for stratum in np.unique(strata):
        inside = np.flatnonzero(strata == stratum)
        counts[:, inside] = generator.multinomial(len(inside), np.full(len(inside), 1 / len(inside)), resamples)
    return counts


def _mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return weights @ values / weights.sum(-1)


def _cohens_d(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean over standard deviation (ddof = 1), of a paired difference."""
    n, mean = weights.sum(-1), _mean(values, weights)
    spread = np.sqrt((weights @ values**2 / n - mean**2).clip(0) * n / np.maximum(n - 1, 1))
    return mean / np.maximum(spread, 1e-12)


STATISTICS = {"mean": _mean, "cohens_d": _cohens_d, "least_relation": _mean}


def _ratio(claim: dict, terms: pd.DataFrame, prefix: str, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The statistic's two parts in each row of weights (resamples, facts): what is divided, and by what (1 without `over`)."""
    of = STATISTICS[claim.get("statistic", "mean")]

    def paired(first: str, second: str) -> np.ndarray:
        return (terms[prefix + first] - terms.get(prefix + second, 0.0)).to_numpy()

    upper = of(paired("value", "minus"), weights)
    return upper, of(paired("over", "over_minus"), weights) if prefix + "over" in terms else np.ones_like(upper)


def _value(claim: dict, terms: pd.DataFrame, prefix: str, weights: np.ndarray) -> np.ndarray:
    """The statistic in each row of weights."""
    upper, lower = _ratio(claim, terms, prefix, weights)
    return upper / lower


@dataclass(frozen=True)
class Margin:
    """What a claim rests on: in each resample, does it hold? chance: that all its facts together speak for it by accident."""

    holds: np.ndarray
    chance: float
    chance_against: float

    def p(self, against: bool) -> float:
        """Bootstrap p-value, never below what so few facts can show."""
        wrong, least = (self.holds, self.chance_against) if against else (~self.holds, self.chance)
        return max((1 + int(wrong.sum())) / (1 + len(wrong)), least)


def _chance(claim: dict, terms: pd.DataFrame, bound: float) -> float:
    """That one fact exceeds the bound by accident: the bound itself for a rate, else a coin's."""
    is_rate = "minus" not in claim and "over" not in claim and terms["value"].isin([0, 1]).all()
    return bound if is_rate else 0.5


def _margins(claim: dict, terms: pd.DataFrame, weights: np.ndarray) -> tuple[list[Margin], np.ndarray]:
    """The bound's margin and the control's over some facts, and whether the divisor is positive in each resample."""
    (sign, symbol, bound), n = _bound(claim), len(terms)
    upper, lower = _ratio(claim, terms, "", weights)
    margin = sign * (upper - bound * lower)  # which holds its sign where a divisor is near 0
    chance = _chance(claim, terms, bound)
    high, low = (chance, 1 - chance) if sign > 0 else (1 - chance, chance)
    holds = margin >= -ROUNDING * abs(bound) if "=" in symbol else margin > 0
    found = [Margin(holds, high**n, low**n)]
    if "control" in claim:
        found.append(Margin(sign * (upper / lower - _value(claim, terms, "control_", weights)) > 0, 0.5**n, 0.5**n))
    return found, lower > 0


def _groups(claim: dict, relations: np.ndarray) -> list[np.ndarray]:
    """Facts that the statistic is of: all, or each relation's, where it is their least."""
    if claim.get("statistic") != "least_relation":
        return [np.ones(len(relations), dtype=bool)]
    return [relations == name for name in np.unique(relations)]


def _strata(claim: dict, relations: np.ndarray) -> np.ndarray:
    """What facts are resampled within: relations, those of few facts as one."""
    _, inverse, counts = np.unique(relations, return_inverse=True, return_counts=True)
    few = (counts[inverse] < FEW) & (claim.get("statistic") != "least_relation")
    return np.where(few, "", relations)


@np.errstate(invalid="ignore")
def _premise_fails(claim: dict, table: pd.DataFrame) -> bool:
    """Has the run not what the claim is about, by the point estimate of its premise?"""
    if "premise" not in claim:
        return False
    premise = {key: claim[key] for key in (*SELECTS, *LABELS) if key in claim} | claim["premise"]
    terms = _joined(_terms(premise, table))
    (margin,), _ = _margins(premise, terms, np.ones((1, len(terms))))
    return not margin.holds[0]


@np.errstate(divide="ignore", invalid="ignore")
def _judged(claim: dict, terms: pd.DataFrame, relations: np.ndarray, seed: int, resamples: int) -> dict:
    """Value, interval and p-values of a claim over facts that have all its terms."""
    exact, once = list(terms.index) == [-1], np.ones((1, len(terms)))
    weights = once if exact else draws(_strata(claim, relations), seed, resamples)
    groups = _groups(claim, relations)
    points = [float(_value(claim, terms[inside], "", once[:, inside])[0]) for inside in groups]
    least = groups[int(np.argmin(points))]
    margins, positive = [], np.ones(len(weights), dtype=bool)
    for inside in groups:
        found, divides = _margins(claim, terms[inside], weights[:, inside])
        margins, positive = margins + found, positive & divides
    row = {"value": min(points), "control_value": math.nan, "n": 1 if exact else len(terms), "exact": exact}
    if "control" in claim:
        row["control_value"] = float(_value(claim, terms[least], "control_", once[:, least])[0])
    if exact:
        holds = bool(positive[0]) and all(margin.holds[0] for margin in margins)
        return row | {"ci_low": math.nan, "ci_high": math.nan, "p_for": float(not holds), "p_against": float(holds)}
    low, high = np.percentile(_value(claim, terms[least], "", weights[:, least]), [2.5, 97.5])
    unsure = (1 + int((~positive).sum())) / (1 + len(positive))  # where the divisor may be 0, nothing is shown
    against = min(1.0, len(margins) * min(margin.p(against=True) for margin in margins))
    row |= {"p_for": max(unsure, *(margin.p(against=False) for margin in margins)), "p_against": max(unsure, against)}
    return row | {"ci_low": float(low), "ci_high": float(high)}


def evaluate(claim: dict, table: pd.DataFrame, seed: int, resamples: int = RESAMPLES) -> dict:
    """The claim's row of the `claims` table but for model, method, p_holm and verdict.

    table: a frame of `onemask.summaries.evidence`. What the run did not measure, or has not the claim's premise, is not judged:
    n is 0 and the note says why. Raises OnemaskError when the claim names a quantity that no run measures.
    """
    _, symbol, bound = _bound(claim)
    row = {"claim": claim["id"], "says": claim["says"], "source": claim["source"], "table": claim["table"]}
    row |= {"bound": f"{symbol} {bound:g}", "control": _control_name(claim), "note": ""}
    terms = _terms(claim, table)
    if "control" in claim:
        terms |= {f"control_{name}": values for name, values in _terms(claim | claim["control"], table).items()}
    joined = _joined(terms)
    missing = "not measured in this run" if joined.empty else "its premise is not met" if _premise_fails(claim, table) else ""
    if missing:
        return row | UNJUDGED | {"note": missing, "p_for": 1.0, "p_against": 1.0}
    relations = relation_by_case(table)
    return row | _judged(claim, joined, relations[joined.index].to_numpy(dtype=str), seed, resamples)


def _control_name(claim: dict) -> str:
    """What the control has in the claim's place, in words."""
    control = claim.get("control", {})
    parts = [str(value) for key, value in control.items() if key in (*SELECTS, *LABELS)]
    parts += [f"minus {value}" for value in control.get("minus", {}).values()]
    return ", ".join(parts)


def holm(p: pd.Series) -> pd.Series:
    """Holm's step-down correction."""
    order = p.sort_values(kind="stable")
    steps = (order * np.arange(len(order), 0, -1)).cummax().clip(upper=1.0)
    return steps.reindex(p.index)


def judge(rows: pd.DataFrame) -> pd.DataFrame:
    """The `claims` table with p_holm and verdict: two-sided, corrected over all its rows that rest on a sample."""
    sampled = ~rows["exact"].astype(bool) & (rows["n"] > 0)
    two_sided = (2 * rows[["p_for", "p_against"]].min(axis=1)).clip(upper=1.0)
    p_holm = holm(two_sided[sampled]).reindex(rows.index)
    decided = rows["exact"].astype(bool) | (p_holm < LEVEL)
    holds = rows["p_for"] < rows["p_against"]
    return rows.assign(p_holm=p_holm, verdict=np.select([decided & holds, decided], VERDICTS[:2], VERDICTS[2]))
