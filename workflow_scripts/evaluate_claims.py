"""Compute the statistic, interval and p-values of every claim that one model and method allow."""

import math

import pandas as pd

import job
from onemask.editors.schemas import EDITS
from onemask.io.files import read_table, read_tables, write_table
from onemask.masking.masks import read_mask
from onemask.measuring.schemas import (
    ATTENTION,
    BLOCKING,
    DECOMPOSITION,
    PATCHING,
    PERPLEXITY,
    PRUNING,
    REVERSAL,
    UPDATE_MAGNITUDE,
)
from onemask.summaries import claims, evidence
from onemask.summaries.measures import relation_by_case
from onemask.summaries.mechanism import contributions
from onemask.summaries.schemas import CLAIMS


def gather(smk, edits):
    """The evidence by name, of what the run has. edits: the `edits` table."""
    inputs, layers = smk.input, smk.params.layers
    splits = zip(smk.params.split_names, inputs.reversal, strict=True)
    reversal = pd.concat([evidence.reversal(read_table(path, REVERSAL), split) for split, path in splits])
    parts = contributions(read_table(inputs.decomposition, DECOMPOSITION), smk.params.as_released)
    weights = read_table(inputs.attention, ATTENTION)
    relations = relation_by_case(weights)
    found = {
        "edits": evidence.edits(edits),
        "reversal": reversal,
        "decomposition": evidence.decomposition(parts, relations, layers),
        "attention": evidence.attention(weights, layers),
        "patching": evidence.patching(read_table(inputs.patching, PATCHING)),
        "perplexity": evidence.perplexity(read_table(inputs.perplexity, PERPLEXITY)),
        "update_magnitude": evidence.update_magnitude(read_table(inputs.magnitude, UPDATE_MAGNITUDE)),
        "mask": evidence.mask(read_mask(inputs.mask), int(smk.wildcards.seed)),
    }
    if inputs.blocking:
        found["blocking"] = evidence.blocking(read_tables(inputs.blocking, BLOCKING))
    if inputs.collapse:
        found["collapse"] = evidence.perplexity(read_table(inputs.collapse[0], PERPLEXITY))
    if inputs.pruning:
        pruned = evidence.reversal(read_table(inputs.pruning[0], PRUNING), "test")
        found["pruning"] = evidence.beside(reversal, pruned)
    return found


def main(smk):
    edits, seed = read_tables(smk.input.edits, EDITS), int(smk.wildcards.seed)
    found = gather(smk, edits)
    rows = [
        claims.evaluate(claim, found[claim["table"]], seed)
        for claim in smk.params.claims
        if claim["table"] in found and claim.get("applies", smk.params.kind) == smk.params.kind
        if claim["split"] in ("all", *smk.params.split_names)
    ]
    by_fact = edits.drop_duplicates("case_id")
    key = {"model": smk.wildcards.model, "method": smk.wildcards.method}
    key |= {"edits": len(by_fact), "unstable": int(by_fact["unstable"].sum())}
    table = pd.DataFrame(rows).assign(**key, p_holm=math.nan, verdict="")  # which need every claim of the run
    write_table(smk.output.claims, CLAIMS, table, job.provenance(smk))


job.run(globals(), main, torch_threads=False)
