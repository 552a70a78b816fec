"""Prune each test edit without training, and score what is left of it."""

import pandas as pd

import job
from onemask import pruning
from onemask.edit_tables import join_facts, layer_edits, read_edits, sample
from onemask.files import read_table, write_table
from onemask.models import load_model
from onemask.reversal import reversal


def main(smk):
    model = load_model(smk.input.model, smk.params.device, smk.params.dtype)
    table = read_edits(smk.input.edits)
    facts, edits = join_facts(read_table(smk.input.facts, "facts"), table), layer_edits(table, model)
    activation = pruning.mean_activation(model, edits.layer, facts)
    facts, edits = sample(facts, edits, smk.params.facts)
    progress, scored = job.Progress(len(facts), "edits"), []
    for i in range(len(facts)):
        states = pruning.states_of(model, edits[[i]].alone, activation, smk.params.shares)
        scored.append(reversal(model, facts.iloc[[i]], edits[[i]], states, smk.params.batch_tokens))
        progress(i + 1)
    write_table(smk.output.reversal, "reversal", pd.concat(scored), job.provenance(smk, model.info))


job.run(globals(), main)
