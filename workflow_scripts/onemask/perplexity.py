"""Perplexity of the original, edited and masked models on held-out text; the blocks up to the edited layer run once."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from onemask.batching import Journal, run_batches
from onemask.edits import LayerEdits, product
from onemask.forward import Cut, finish, logits_at, split_at
from onemask.models import Model
from onemask.states import State
from onemask.tokens import Padded


def sampled_cases(table: pd.DataFrame, count: int, seed: int) -> np.ndarray:
    """case_id of `count` of a table's facts, drawn with a seed; a smaller draw is part of every larger one."""
    return np.random.default_rng(seed).permutation(table["case_id"].unique())[:count]


@torch.inference_mode()
def mean_nll(model: Model, cuts: list[Cut], windows: Tensor, state: State) -> float:
    """Mean negative log-likelihood (nats) of every token but each window's first, in one state of the layer.

    cuts: one a window. windows: (windows, length). state: its update is a single edit.
    """
    total = 0.0
    for cut, ids in zip(cuts, windows.to(model.device), strict=True):
        hidden = finish(model, cut, product(cut.keys, model.weight(cut.layer), state.update, state.keep, state.restores))
        logits = logits_at(model, hidden[0, :-1])
        total += float(torch.nn.functional.cross_entropy(logits, ids[1:], reduction="sum").double())
    return total / (windows.shape[0] * (windows.shape[1] - 1))


def collapse(
    model: Model,
    windows: Tensor,
    cases: np.ndarray,
    edits: LayerEdits,
    states: list[State],
    count: int,
    journal: Journal,
    progress: Callable[[int], None] = lambda done: None,
) -> pd.DataFrame:
    """The `perplexity` table of the original model, of every edit, and of the `count` worst edits under the mask (table 6).

    edits: of the facts `cases`, each on its own. states: original, edited, masked. Each edit done is kept in the journal.
    """
    original, edited, masked = states
    cuts = [split_at(model, edits.layer, Padded(ids[None], torch.tensor([len(ids)]))) for ids in windows]

    def compute(group: list[int]) -> dict[str, Tensor]:
        return {"nll": torch.tensor([mean_nll(model, cuts, windows, edited[group])], dtype=torch.float64)}

    nll = run_batches([[row] for row in range(len(cases))], compute, journal, progress)["nll"]
    worst = nll.argsort(descending=True, stable=True)[:count].tolist()
    rows = [(-1, original.name, mean_nll(model, cuts, windows, original))]
    rows += [(int(case), edited.name, float(value)) for case, value in zip(cases, nll, strict=True)]
    rows += [(int(cases[row]), masked.name, mean_nll(model, cuts, windows, masked[[row]])) for row in worst]
    tokens = windows.shape[0] * (windows.shape[1] - 1)
    return pd.DataFrame(rows, columns=["case_id", "state", "nll"]).assign(tokens=tokens)


def measure(
    model: Model,
    windows: Tensor,
    cases: pd.DataFrame,
    edits: LayerEdits,
    states: list[State],
    journal: Journal,
    progress: Callable[[int], None] = lambda done: None,
) -> pd.DataFrame:
    """The `perplexity` table: every state of every edit, or once (case_id -1) where no single edit makes a difference.

    cases: a row an edit or more, with `case_id`. Each edit done is kept in the journal.
    """
    length = torch.tensor([windows.shape[1]])
    unedited = [split_at(model, edits.layer, Padded(ids[None], length)) for ids in windows]
    with edits.others_applied(model):
        edited = [split_at(model, edits.layer, Padded(ids[None], length)) for ids in windows] if edits.others else unedited
    fixed, varying = ([state for state in states if state.varies == varies] for varies in (False, True))

    def nll(state: State) -> float:
        return mean_nll(model, unedited if state.update is None else edited, windows, state)

    def compute(group: list[int]) -> dict[str, Tensor]:
        return {"nll": torch.tensor([[nll(state[group]) for state in varying]], dtype=torch.float64)}

    rows = [(-1, state.name, nll(state[[0]])) for state in fixed]
    if varying:
        names = cases["case_id"].unique()
        found = run_batches([[row] for row in range(len(names))], compute, journal, progress)["nll"].tolist()
        rows += [
            (case, state.name, value)
            for case, values in zip(names, found, strict=True)
            for state, value in zip(varying, values, strict=True)
        ]
    tokens = windows.shape[0] * (windows.shape[1] - 1)
    return pd.DataFrame(rows, columns=["case_id", "state", "nll"]).assign(tokens=tokens)
