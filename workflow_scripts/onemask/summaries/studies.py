"""What several masks say together: relations left out in turn, and the layers compared."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from onemask.masking.names import MAIN
from onemask.summaries.measures import RESAMPLES, relation_by_case, single


def left_out(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """One `reversal` table of the folds' facts, each under the mask that saw none of its relation (state "left_out")."""
    return pd.concat([table[table["state"] == "left_out"] for table in tables], ignore_index=True)


def _resampled_rates(by_layer: pd.DataFrame, strata: np.ndarray, seed: int) -> np.ndarray:
    """Mean of each column (layer) over facts (rows) drawn with replacement within their stratum, (RESAMPLES, layers)."""
    generator, sums = np.random.default_rng(seed), np.zeros((RESAMPLES, by_layer.shape[1]))
    for stratum in np.unique(strata):
        inside = by_layer.to_numpy(dtype=float)[strata == stratum]
        sums += inside[generator.integers(0, len(inside), (RESAMPLES, len(inside)))].sum(1)
    return sums / len(by_layer)


def layer_correlation(
    energy: pd.Series, tables: dict[int, pd.DataFrame], mask: Mapping[str, Any], seed: int, **key: Any
) -> list[dict]:
    """Spearman's rank correlation over layers of common key energy and the mask's test RSR, as measures.

    energy: by layer. tables: `reversal` by layer. mask: what sets its rows apart. The interval resamples, within relations, the
    facts that every layer edited, and holds the layers fixed; the p-value is of permutations of the layers (all, or 10,000
    drawn), two-sided.
    """
    reversed_facts = {
        layer: table[table["state"] == MAIN].set_index("case_id").pipe(lambda part: part["logp_true"] > part["logp_new"])
        for layer, table in tables.items()
    }
    by_layer = pd.DataFrame(reversed_facts).dropna()
    relations = relation_by_case(pd.concat(tables.values()))
    energies = energy[by_layer.columns].to_numpy()
    rates = by_layer.to_numpy(dtype=float).mean(0)
    found = stats.permutation_test(
        (rates,),
        lambda drawn: stats.spearmanr(energies, drawn).statistic,
        permutation_type="pairings",
        n_resamples=10_000,
        rng=seed,
    )
    drawn = [
        stats.spearmanr(energies, part).statistic
        for part in _resampled_rates(by_layer, relations[by_layer.index].to_numpy(), seed)
    ]
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    where = {**key, **mask, "state": MAIN, "split": "test"}
    correlation = single("rank_correlation", found.statistic, len(energies), seed, **where)
    return [
        correlation | {"ci_low": float(low), "ci_high": float(high)},
        single("rank_correlation_p", found.pvalue, len(energies), seed, **where),
    ]
