"""Edits as tables: factors and scores by fact, and back from a table to tensors."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from onemask.editors.base import Edited
from onemask.editors.health import health
from onemask.editors.schemas import EDITS
from onemask.editors.verdicts import UNSTABLE, verdicts
from onemask.io.errors import EDIT_AGAIN, OnemaskError, reason
from onemask.io.files import read_tables
from onemask.model.edits import FactoredEdits, JointEdit, LayerEdits, applied
from onemask.model.models import Model
from onemask.model.scoring import Scores, fact_batches, nested, probe, score

FAILURE = "loss not finite"


def score_facts(
    model: Model, facts: pd.DataFrame, edits: FactoredEdits | None, layer: int, batch_tokens: int, suffix: str
) -> pd.DataFrame:
    """Both objects' log-probabilities and the new one's token accuracy, index of `facts`; row i under edit i, if any."""
    parts = []
    for group in fact_batches(model, facts, batch_tokens):
        batch = facts.iloc[group]
        scores: Scores = score(model, probe(model, layer, batch), None if edits is None else edits[group].to(model.device))
        true = np.where(batch["target_true"] == "", np.nan, scores.logp_true.numpy())
        columns = {"logp_true": true, "logp_new": scores.logp_new.numpy(), "token_accuracy": scores.accuracy.numpy()}
        parts.append(pd.DataFrame(columns, index=batch.index))
    return pd.concat(parts).sort_index().add_suffix(f"_{suffix}")


def edits_table(model: Model, facts: pd.DataFrame, edited: Edited, joint: bool, batch_tokens: int) -> pd.DataFrame:
    """The `edits` table: a row is fact x layer x component; the scores are the fact's, the same in each of its rows.

    joint: all facts are one edit of the model, and each is scored in the model that holds them all.
    """
    layer = edited.layers[-1].layer
    before = score_facts(model, facts, None, layer, batch_tokens, "before")
    if joint:
        with applied(model, edited.layers):
            after = score_facts(model, facts, None, layer, batch_tokens, "after")
    else:
        (only,) = edited.layers
        after = score_facts(model, facts, only, layer, batch_tokens, "after")
    by_fact = facts[["case_id", "relation_id", "prompt", "subject", "target_true", "target_new"]].assign(
        joint=joint,
        steps=edited.steps.numpy(),
        loss=edited.loss.double().numpy(),
        delta_norm=edited.delta_norm.double().numpy(),
        truncation=0.0 if edited.truncation is None else edited.truncation.double().numpy(),
        failure=np.where(edited.failed.numpy(), FAILURE, ""),
    )
    by_fact = by_fact.join(before).join(after.rename(columns={"token_accuracy_after": "token_accuracy"}))
    by_fact = by_fact.join(health(model, edited, joint).set_index(facts.index))
    by_fact["verdict"] = verdicts(by_fact, nested(model, facts))
    by_fact = by_fact.drop(columns="token_accuracy_before")
    rows = [
        by_fact.assign(
            layer=part.layer, component=rank, u=list(part.u[:, rank].float().numpy()), r=list(part.r[:, rank].float().numpy())
        )
        for part in edited.layers
        for rank in range(part.u.shape[1])
    ]
    return pd.concat(rows, ignore_index=True)


def without_unstable(table: pd.DataFrame) -> pd.DataFrame:
    """The `edits` table with unstable single edits as failed ones, which nothing reads; a joint edit is not parted."""
    left_out = table["unstable"] & ~table["joint"] & (table["failure"] == "")
    return table.assign(failure=table["failure"].mask(left_out, UNSTABLE))


def read_edits(paths: Sequence[str | Path]) -> pd.DataFrame:
    """The edits of several `edits` files without the failed ones, which are logged; OnemaskError when none is left."""
    table = read_tables(paths, EDITS)
    failed = table.loc[table["failure"] != "", "case_id"].unique()
    if len(failed):
        logging.warning("%d failed edits are left out: cases %s", len(failed), failed[:10].tolist())
    table = table[table["failure"] == ""].reset_index(drop=True)
    if table.empty:
        raise OnemaskError("an edit that did not fail", f"none in {', '.join(map(str, paths))}", "Check the editing's settings.")
    return table


def _stacked(ranks: list[pd.DataFrame], facts: np.ndarray, name: str) -> Float[Tensor, "facts rank d"]:
    """A factor's rows; OnemaskError when one is missing or of another length."""
    try:
        return torch.stack([torch.from_numpy(np.stack(part.loc[facts, name].to_list())) for part in ranks], dim=1)
    except (KeyError, TypeError, ValueError) as error:
        raise OnemaskError(f"factors {name} of every edit, equally long", reason(error), EDIT_AGAIN) from error


def stack_layers(table: pd.DataFrame, model: Model | None = None) -> list[FactoredEdits]:
    """The edits of an `edits` table as tensors (on the model's device), one FactoredEdits a layer, facts in the table's order.

    Raises OnemaskError when factors are missing, not finite, or of other dimensions than the model's matrix.
    """
    facts = table["case_id"].unique()
    if not len(facts):
        raise OnemaskError("edits", "none", "Ask for more facts, and make the edits again.")
    layers = []
    for layer, rows in table.groupby("layer"):
        ranks = [part.set_index("case_id") for _, part in rows.groupby("component")]
        if any(len(part) != len(facts) for part in ranks):
            raise OnemaskError(f"{len(facts)} facts in layer {layer}", f"{len(rows)} rows", EDIT_AGAIN)
        u, r = (_stacked(ranks, facts, name) for name in ("u", "r"))
        if not (torch.isfinite(u).all() and torch.isfinite(r).all()):
            raise OnemaskError("finite edits", "NaN or infinity", EDIT_AGAIN)
        if model is not None and (r.shape[2], u.shape[2]) != (model.d_model, model.d_mlp):
            raise OnemaskError(
                f"edits of a {model.d_model} x {model.d_mlp} matrix",
                f"{r.shape[2]} x {u.shape[2]}",
                "Use the model that the edits were made for.",
            )
        edits = FactoredEdits(int(layer), u, r)
        layers.append(edits if model is None else edits.to(model.device))
    return layers


def layer_edits(table: pd.DataFrame, model: Model | None = None) -> LayerEdits:
    """`stack_layers` as a mask meets them; OnemaskError when edits that are each on their own are of several layers."""
    *others, last = stack_layers(table, model)
    if table["joint"].all():
        return LayerEdits(JointEdit(last.layer, last.sum()), tuple(others))
    if others or table["joint"].any():
        found = f"layers {[part.layer for part in (*others, last)]}"
        raise OnemaskError("single edits of one layer, or one joint edit", found, "Make the edits again with one config.")
    return LayerEdits(last)


def join_facts(facts: pd.DataFrame, edits: pd.DataFrame) -> pd.DataFrame:
    """The facts behind the rows of an `edits` table, once each, in its order; OnemaskError when one is missing."""
    cases = edits["case_id"].unique()
    missing = set(cases) - set(facts["case_id"])
    if missing:
        raise OnemaskError("edits of these facts", f"unknown cases {', '.join(map(str, sorted(missing)[:5]))}", EDIT_AGAIN)
    return facts.set_index("case_id", drop=False).loc[cases].reset_index(drop=True)


def subset(facts: pd.DataFrame, edits: LayerEdits, rows: np.ndarray) -> tuple[pd.DataFrame, LayerEdits]:
    """Some of the facts, by their row numbers, and their edits.

    Facts that are edited jointly keep the one edit of all of them.
    """
    return facts.iloc[rows].reset_index(drop=True), edits[torch.from_numpy(rows)]


def sample(facts: pd.DataFrame, edits: LayerEdits, count: int) -> tuple[pd.DataFrame, LayerEdits]:
    """At most `count` facts, evenly spaced, so that every relation has its part, and their edits."""
    return subset(facts, edits, np.linspace(0, len(facts) - 1, min(count, len(facts))).round().astype(int))
