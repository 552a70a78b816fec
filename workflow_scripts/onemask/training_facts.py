"""Which of the training facts a mask learns from."""

import numpy as np
import pandas as pd

from onemask.errors import OnemaskError


def choose(facts: pd.DataFrame, left_out: list[str], count: int | None, seed: int) -> pd.DataFrame:
    """The facts without some relations, and `count` of them drawn with a seed (None: all); order and columns as they were.

    A smaller draw is part of every larger one with the same seed. Raises OnemaskError when there are fewer than asked for.
    """
    kept = facts[~facts["relation_id"].isin(left_out)]
    wanted = 2 if count is None else count
    if len(kept) < wanted:
        without = f" without {', '.join(left_out)}" if left_out else ""
        raise OnemaskError(f"{wanted} training edits or more{without}", f"{len(kept)}", "Ask for fewer, or make more edits.")
    if count is not None:
        kept = kept.iloc[np.sort(np.random.default_rng(seed).permutation(len(kept))[:count])]
    return kept.reset_index(drop=True)
