"""Perplexity of the original, edited and masked models on held-out text; the blocks up to the edited layer run once."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from onemask.io.batching import IN_MEMORY, Work, run_batches
from onemask.measuring.states import State
from onemask.model.edits import JointEdit, LayerEdits, product
from onemask.model.forward import LayerInput, finish, logits_at, run_to
from onemask.model.models import Model
from onemask.model.tokens import Padded

CANDIDATES = 4  # edits measured on the whole text for each of the worst that are reported


def sampled(
    cases: Int[np.ndarray, " edits"], edits: LayerEdits, count: int, seed: int
) -> tuple[Int[np.ndarray, " some"], LayerEdits]:
    """`count` of the edits, with their case_ids, drawn with a seed; all of them where they are one joint edit.

    A smaller draw is part of every larger one.
    """
    if isinstance(edits.update, JointEdit):
        return cases, edits
    rows = np.flatnonzero(np.isin(cases, np.random.default_rng(seed).permutation(cases)[:count]))
    return cases[rows], edits[torch.from_numpy(rows)]


@torch.inference_mode()
def mean_nll(model: Model, inputs: list[LayerInput], windows: Int[Tensor, "windows length"], state: State) -> float:
    """Mean negative log-likelihood (nats) of every token but each window's first, in one state of the layer.

    inputs: one a window. state: its update is a single edit.
    """
    total = 0.0
    for at_layer, ids in zip(inputs, windows.to(model.device), strict=True):
        output = product(at_layer.keys, model.weight(at_layer.layer), state.update, state.keep, state.restores)
        logits = logits_at(model, finish(model, at_layer, output)[0, :-1])
        total += float(torch.nn.functional.cross_entropy(logits, ids[1:], reduction="sum").double())
    return total / (windows.shape[0] * (windows.shape[1] - 1))


def windows_at_layer(model: Model, layer: int, windows: Int[Tensor, "windows length"]) -> list[LayerInput]:
    """Each window up to a layer, with the model as it is."""
    return [run_to(model, layer, Padded(ids[None], torch.tensor([len(ids)]))) for ids in windows]


def nll_by_edit(
    model: Model,
    inputs: list[LayerInput],
    windows: Int[Tensor, "windows length"],
    states_of: Callable[[list[int]], list[State]],
    edits: int,
    work: Work = IN_MEMORY,
) -> Float[Tensor, "edits states"]:
    """`mean_nll` of every edit in every state, float64; each edit done is kept in the journal.

    states_of: the states of one edit, given as its row in a list.
    """

    def compute(group: list[int]) -> dict[str, Tensor]:
        values = [mean_nll(model, inputs, windows, state) for state in states_of(group)]
        return {"nll": torch.tensor([values], dtype=torch.float64)}

    return run_batches([[row] for row in range(edits)], compute, work)["nll"]


def perplexity_table(rows: list[dict[str, Any]], windows: Int[Tensor, "windows length"]) -> pd.DataFrame:
    """The `perplexity` table; rows: case_id, state, nll: mean negative log-likelihood over the windows (nats)."""
    return pd.DataFrame(rows).assign(tokens=windows.shape[0] * (windows.shape[1] - 1))


def rows_of(
    cases: Int[np.ndarray, " cases"], states: list[dict[str, Any]], nll: Float[Tensor, "cases states"]
) -> list[dict[str, Any]]:
    """Rows of the `perplexity` table. states: the columns that say which state each is."""
    return [
        {"case_id": int(case), **state, "nll": value}
        for case, values in zip(cases, nll.tolist(), strict=True)
        for state, value in zip(states, values, strict=True)
    ]


def collapse(
    model: Model,
    windows: Int[Tensor, "windows length"],
    cases: Int[np.ndarray, " edits"],
    edits: LayerEdits,
    states: list[State],
    count: int,
    searched: int,
    work: Work = IN_MEMORY,
) -> pd.DataFrame:
    """The `perplexity` table of the original model and of the `count` worst edits, as edited and under the mask (table 6).

    edits: of the facts `cases`, each on its own. states: original, edited, masked. The worst are sought among CANDIDATES times as
    many, those that are worst on the first `searched` windows; all edits on all windows would take most of a large model's time.
    """
    original, edited, masked = states
    inputs = windows_at_layer(model, edits.layer, windows)
    order = torch.arange(len(cases))
    nll = nll_by_edit(model, inputs[:searched], windows[:searched], lambda group: [edited[group]], len(cases), work)
    if searched < len(windows):
        order = nll[:, 0].argsort(descending=True, stable=True)[: CANDIDATES * count]
        again = work.part("candidates")
        nll = nll_by_edit(model, inputs, windows, lambda group: [edited[order[group]]], len(order), again)
    worst = nll[:, 0].argsort(descending=True, stable=True)[:count]
    order, part = order[worst], work.part("masked")
    under = nll_by_edit(model, inputs, windows, lambda group: [masked[order[group]]], len(order), part)
    rows = [{"case_id": -1, **original.columns, "nll": mean_nll(model, inputs, windows, original)}]
    rows += rows_of(cases[order.numpy()], [edited.columns, masked.columns], torch.cat([nll[worst], under], dim=1))
    return perplexity_table(rows, windows)


def measure(
    model: Model,
    windows: Int[Tensor, "windows length"],
    cases: Int[np.ndarray, " edits"],
    edits: LayerEdits,
    states: list[State],
    work: Work = IN_MEMORY,
) -> pd.DataFrame:
    """The `perplexity` table: every state of every edit, or once (case_id -1) where no single edit makes a difference.

    cases: case_id of each edit.
    """
    unedited = edited = windows_at_layer(model, edits.layer, windows)
    if edits.others:
        with edits.others_applied(model):
            edited = windows_at_layer(model, edits.layer, windows)
    fixed, varying = ([state for state in states if state.varies == varies] for varies in (False, True))
    rows = []
    for state in fixed:
        nll = mean_nll(model, unedited if state.update is None else edited, windows, state[[0]])
        rows.append({"case_id": -1, **state.columns, "nll": nll})
    if varying:
        by_edit = nll_by_edit(model, edited, windows, lambda group: [state[group] for state in varying], len(cases), work)
        rows += rows_of(cases, [state.columns for state in varying], by_edit)
    return perplexity_table(rows, windows)
