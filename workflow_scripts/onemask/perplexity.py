"""Perplexity of the original, edited and masked models on held-out text; the blocks up to the edited layer run once."""

from collections.abc import Callable

import pandas as pd
import torch
from torch import Tensor

from onemask.edits import FactoredEdits, product
from onemask.forward import Cut, finish, logits_at, split_at
from onemask.models import Model
from onemask.tokens import Padded


@torch.inference_mode()
def mean_nll(
    model: Model, cuts: list[Cut], windows: Tensor, edit: FactoredEdits | None = None, keep: Tensor | None = None
) -> float:
    """Mean negative log-likelihood (nats) of every token but each window's first, in one state of the layer.

    cuts: one a window. windows: (windows, length). edit: a single edit, or None.
    """
    total = 0.0
    for cut, ids in zip(cuts, windows.to(model.device), strict=True):
        hidden = finish(model, cut, product(cut.keys, model.weight(cut.layer), edit, keep))
        logits = logits_at(model, hidden[0, :-1])
        total += float(torch.nn.functional.cross_entropy(logits, ids[1:], reduction="sum").double())
    return total / (windows.shape[0] * (windows.shape[1] - 1))


def measure(
    model: Model,
    layer: int,
    windows: Tensor,
    cases: pd.DataFrame,
    edits: FactoredEdits,
    masks: dict[str, Tensor],
    progress: Callable[[int], None] = lambda done: None,
) -> pd.DataFrame:
    """The `perplexity` table: the original model once; for each edit its edited state and each mask over it.

    A mask that removes the whole layer leaves nothing of an edit, so it is measured once (case_id -1).
    """
    length = torch.tensor([windows.shape[1]])
    cuts = [split_at(model, layer, Padded(ids[None], length)) for ids in windows]
    tokens = windows.shape[0] * (windows.shape[1] - 1)
    rows = [{"case_id": -1, "state": "original", "nll": mean_nll(model, cuts, windows), "tokens": tokens}]
    emptying = {state: keep for state, keep in masks.items() if not keep.any()}
    for state, keep in emptying.items():
        rows.append({"case_id": -1, "state": state, "nll": mean_nll(model, cuts, windows, keep=keep), "tokens": tokens})
    per_edit = {"edited": None} | {state: keep for state, keep in masks.items() if state not in emptying}
    for i, case in enumerate(cases["case_id"]):
        for state, keep in per_edit.items():
            nll = mean_nll(model, cuts, windows, edits[[i]], keep)
            rows.append({"case_id": case, "state": state, "nll": nll, "tokens": tokens})
        progress(i + 1)
    return pd.DataFrame(rows)
