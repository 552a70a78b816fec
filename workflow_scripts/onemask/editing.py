"""Between facts and edits: which facts are edited, the `edits` table, and the facts behind it."""

import pandas as pd

from onemask.errors import OnemaskError
from onemask.models import Model
from onemask.rome import RomeResult
from onemask.scoring import fact_batches, probe, score


def facts_to_edit(facts: pd.DataFrame, knowledge: pd.DataFrame, split: str, relation: str, only_known: bool) -> pd.DataFrame:
    """The facts of one relation of a split, all or those that the unedited model knows; at least one.

    Raises OnemaskError when none is left.
    """
    chosen = facts[facts["relation_id"] == relation]
    if only_known:
        known = knowledge.loc[(knowledge["split"] == split) & knowledge["known"], "case_id"]
        chosen = chosen[chosen["case_id"].isin(known)]
    if chosen.empty:
        raise OnemaskError(
            f"a fact of {relation} in {split} to edit",
            "none that the model knows",
            "Ask for more facts, or set only_known: false.",
        )
    return chosen.reset_index(drop=True)


def edits_table(model: Model, facts: pd.DataFrame, result: RomeResult, batch_tokens: int) -> pd.DataFrame:
    """The `edits` table: factors and optimisation of each edit, and both objects' log-probabilities before and after."""
    parts = []
    for group in fact_batches(model, facts, batch_tokens):
        batch = facts.iloc[group]
        probes = probe(model, result.edits.layer, batch)
        before, after = score(model, probes), score(model, probes, result.edits[group])
        parts.append(
            pd.DataFrame(
                {
                    "logp_true_before": before.logp_true,
                    "logp_new_before": before.logp_new,
                    "logp_true_after": after.logp_true,
                    "logp_new_after": after.logp_new,
                    "token_accuracy": after.accuracy,
                },
                index=batch.index,
            )
        )
    return (
        facts[["case_id", "relation_id"]]
        .assign(
            layer=result.edits.layer,
            u=list(result.edits.u.numpy()),
            r=list(result.edits.r.numpy()),
            steps=result.steps.numpy(),
            loss=result.loss.double().numpy(),
            delta_norm=result.delta_norm.double().numpy(),
        )
        .join(pd.concat(parts))
    )


def join_facts(facts: pd.DataFrame, edits: pd.DataFrame) -> pd.DataFrame:
    """The facts behind the rows of an `edits` table, in its order; OnemaskError when one is missing."""
    missing = set(edits["case_id"]) - set(facts["case_id"])
    if missing:
        raise OnemaskError("edits of these facts", f"unknown cases {sorted(missing)[:5]}", "Make the edits again.")
    return facts.set_index("case_id", drop=False).loc[edits["case_id"]].reset_index(drop=True)
