"""The paper's claims put to the test: a statistic of values by fact, its bound, the control it must beat, and a verdict.

A claim is supported where, over resampled facts, both its bound and its control hold significantly; not supported where one of
them fails significantly; else inconclusive. Significance is of bootstrap p-values, corrected over a run's claims (Holm).
"""

import math
import re
from collections.abc import Mapping

import numpy as np
import pandas as pd

from onemask.errors import OnemaskError

RESAMPLES = 10_000
LEVEL = 0.05
VERDICTS = ["supported", "not supported", "inconclusive"]
SELECTS = ("quantity", "split", "state")


def _select(table: pd.DataFrame, where: Mapping[str, str]) -> pd.Series:
    """One quantity by case_id in a split and state."""
    for key in ("split", "state"):
        table = table[table[key] == where[key]]
    if where["quantity"] not in table or table.empty:
        found = ", ".join(map(str, where.values()))
        raise OnemaskError("a quantity, split and state that were measured", found, "Correct the claim in config/claims.yaml.")
    return table.set_index("case_id")[where["quantity"]].astype(float)


def _terms(claim: dict, table: pd.DataFrame) -> dict[str, pd.Series]:
    """The series of a claim's statistic: value, and minus, over, over_minus where it has them.

    minus and over name what differs from the value's quantity, split and state.
    """
    where = {key: claim[key] for key in SELECTS}
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
        return pd.DataFrame({name: [value] for name, value in single.items()}, index=[-1])
    return pd.DataFrame(several).dropna().assign(**single)


def draws(strata: np.ndarray, seed: int, resamples: int = RESAMPLES) -> np.ndarray:
    """How often each fact stands in each resample, (resamples, facts): with replacement within its stratum."""
    generator, counts = np.random.default_rng(seed), np.empty((resamples, len(strata)))
    for stratum in np.unique(strata):
        inside = np.flatnonzero(strata == stratum)
        counts[:, inside] = generator.multinomial(len(inside), np.full(len(inside), 1 / len(inside)), resamples)
    return counts


def _mean(values: np.ndarray, weights: np.ndarray, strata: np.ndarray) -> np.ndarray:
    return weights @ values / weights.sum(-1)


def _cohens_d(values: np.ndarray, weights: np.ndarray, strata: np.ndarray) -> np.ndarray:
    """Mean over standard deviation (ddof = 1), of a paired difference."""
    n, mean = weights.sum(-1), _mean(values, weights, strata)
    spread = np.sqrt((weights @ values**2 / n - mean**2).clip(0) * n / np.maximum(n - 1, 1))
    return mean / np.maximum(spread, 1e-12)


def _least(values: np.ndarray, weights: np.ndarray, strata: np.ndarray) -> np.ndarray:
    """The smallest of the relations' means."""
    return np.min([_mean(values[strata == name], weights[:, strata == name], strata) for name in np.unique(strata)], axis=0)


STATISTICS = {"mean": _mean, "cohens_d": _cohens_d, "least_relation": _least}


def _statistic(kind: str, terms: pd.DataFrame, prefix: str, weights: np.ndarray, strata: np.ndarray) -> np.ndarray:
    """The statistic in each row of weights (resamples, facts)."""

    def paired(first: str, second: str) -> np.ndarray:
        return (terms[prefix + first] - terms.get(prefix + second, 0.0)).to_numpy()

    upper = STATISTICS[kind](paired("value", "minus"), weights, strata)
    if prefix + "over" not in terms:
        return upper
    return upper / STATISTICS[kind](paired("over", "over_minus"), weights, strata)


def _p(wrong: np.ndarray) -> float:
    """Bootstrap p-value: share of resamples that speak against, never quite 0."""
    return (1 + int(wrong.sum())) / (1 + len(wrong))


def evaluate(claim: dict, table: pd.DataFrame, seed: int) -> dict:
    """The claim's row of the `claims` table but for model, method, p_holm and verdict.

    table: a frame of `onemask.evidence`. Raises OnemaskError when the claim names what the frame has not.
    """
    terms = _terms(claim, table)
    if "control" in claim:
        terms |= {f"control_{name}": values for name, values in _terms(claim | claim["control"], table).items()}
    joined = _joined(terms)
    relations = table.drop_duplicates("case_id").set_index("case_id")["relation_id"]
    strata = relations[joined.index].to_numpy(dtype=str)
    exact = list(joined.index) == [-1]
    once = np.ones((1, len(joined)))
    kind, sign = claim.get("statistic", "mean"), 1 if "at_least" in claim else -1
    bound = claim.get("at_least", claim.get("at_most"))
    value = float(_statistic(kind, joined, "", once, strata)[0])
    control = float(_statistic(kind, joined, "control_", once, strata)[0]) if "control" in claim else math.nan
    row = {"claim": claim["id"], "says": claim["says"], "source": claim["source"], "table": claim["table"], "value": value}
    row |= {"bound": f"{'>=' if sign > 0 else '<='} {bound:g}", "control": _control_name(claim), "control_value": control}
    row |= {"n": 1 if exact else len(joined)}
    if exact:
        holds = sign * (value - bound) >= 0 and not sign * (value - control) <= 0
        return row | {"ci_low": math.nan, "ci_high": math.nan, "p_for": 0.0 if holds else 1.0, "p_against": 1.0 if holds else 0.0}
    weights = draws(strata, seed)
    drawn = _statistic(kind, joined, "", weights, strata)
    low, high = np.percentile(drawn, [2.5, 97.5])
    margins = [sign * (drawn - bound)]
    if "control" in claim:
        margins.append(sign * (drawn - _statistic(kind, joined, "control_", weights, strata)))
    against = min(_p(margin > 0) for margin in margins)
    row |= {"p_for": max(_p(margin <= 0) for margin in margins), "p_against": min(1.0, len(margins) * against)}
    return row | {"ci_low": float(low), "ci_high": float(high)}


def _control_name(claim: dict) -> str:
    """What the control has in the claim's place, in words."""
    control = claim.get("control", {})
    parts = [str(value) for key, value in control.items() if key in SELECTS]
    parts += [f"minus {value}" for value in control.get("minus", {}).values()]
    return ", ".join(parts)


def holm(p: pd.Series) -> pd.Series:
    """Holm's step-down correction."""
    order = p.sort_values(kind="stable")
    steps = (order * np.arange(len(order), 0, -1)).cummax().clip(upper=1.0)
    return steps.reindex(p.index)


def judge(rows: pd.DataFrame) -> pd.DataFrame:
    """The `claims` table with p_holm and verdict, corrected over all its rows that rest on a sample (n > 1)."""
    sampled = rows["n"] > 1
    corrected = {name: holm(rows.loc[sampled, name]).reindex(rows.index).fillna(rows[name]) for name in ("p_for", "p_against")}
    verdict = np.select([corrected["p_for"] < LEVEL, corrected["p_against"] < LEVEL], VERDICTS[:2], VERDICTS[2])
    p_holm = np.minimum(corrected["p_for"], corrected["p_against"]).where(sampled)
    return rows.assign(p_holm=p_holm, verdict=verdict)


def wide(table: pd.DataFrame) -> pd.DataFrame:
    """The `claims` table for people; cells are text."""
    value = [
        f"{row.value:.3g}" + ("" if pd.isna(row.ci_low) else f" [{row.ci_low:.3g}, {row.ci_high:.3g}]")
        for row in table.itertuples()
    ]
    control = [f"{row.control}: {row.control_value:.3g}" if row.control else "" for row in table.itertuples()]
    p = ["" if pd.isna(p) else f"{p:.2g}" for p in table["p_holm"]]
    found = table[["model", "method", "says", "source"]].assign(
        value=value, bound=table["bound"], control=control, p=p, verdict=table["verdict"]
    )
    several = [key for key in ("model", "method") if table[key].nunique() > 1]
    found["method"] = found["method"].str.upper()
    return found[[*several, *found.columns[2:]]].rename(columns={"says": "claim", "source": "in the paper", "p": "p (Holm)"})


def summary(table: pd.DataFrame) -> str:
    """How many claims got which verdict, a line a model and method."""
    lines = []
    for (model, method), part in table.groupby(["model", "method"], sort=False):
        counts = part["verdict"].value_counts().reindex(VERDICTS, fill_value=0)
        words = ", ".join(f"{count} {name}" for name, count in counts.items())
        lines.append(f"{method.upper()} on {model}: of {len(part)} claims {words}.")
    return "\n".join(lines)


def _rst(text: object) -> str:
    return re.sub(r"([\\*`|_])", r"\\\1", str(text))


def opening(shown: pd.DataFrame, found: str, note: str, run: str) -> str:
    """The report's first page in reStructuredText, from `wide` and `summary`."""
    lines = [f"Claims of the paper, run {_rst(run)}", "=" * 60, ""]
    lines += [f"- {_rst(line)}" for line in found.splitlines()]
    lines += ["", f"{_rst(note)} Every figure and table has its caption behind the sign (i).", "", ".. list-table::"]
    lines += ["   :header-rows: 1", ""]
    for row in [list(shown.columns), *shown.to_numpy().tolist()]:
        lines += [f"   {' ' if at else '*'} - {_rst(cell)}" for at, cell in enumerate(row)]
    return "\n".join(lines) + "\n"
