"""Perplexity of a few test edits, pruned without training."""

import pandas as pd

import job
from onemask import perplexity, pruning
from onemask.batching import Journal
from onemask.corpus import windows
from onemask.edit_tables import join_facts, layer_edits, read_edits
from onemask.files import read_table, write_table
from onemask.models import load_model


def main(smk):
    model = load_model(smk.input.model, smk.params.device, smk.params.dtype)
    table = read_edits(smk.input.edits)
    facts, edits = join_facts(read_table(smk.input.facts, "facts"), table), layer_edits(table, model)
    activation = pruning.mean_activation(model, edits.layer, facts)
    text = windows(model.tokenizer, read_table(smk.input.corpus, "corpus"), "perplexity", smk.params.tokens, smk.params.window)
    sampled = perplexity.sampled_cases(table, smk.params.edits, int(smk.wildcards.seed))
    progress, measured = job.Progress(len(sampled), "edits"), []
    for i in facts.index[facts["case_id"].isin(sampled)]:
        states = pruning.states_of(model, edits[[i]].alone, activation, smk.params.shares)
        measured.append(perplexity.measure(model, text, facts.loc[[i]], edits[[i]], states, Journal()))
        progress(len(measured))
    write_table(smk.output.perplexity, "perplexity", pd.concat(measured), job.provenance(smk, model.info))


job.run(globals(), main)
