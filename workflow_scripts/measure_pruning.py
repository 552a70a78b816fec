"""Prune each test edit without training, and score what is left of it."""

import job
from onemask.data.schemas import FACTS
from onemask.editors.tables import join_facts, layer_edits, read_edits, sample
from onemask.io.batching import Journal, run_batches
from onemask.io.files import read_table, write_table
from onemask.measuring import pruning
from onemask.measuring.reversal import reversal_table, score_states
from onemask.measuring.schemas import PRUNING
from onemask.model.models import load_model


def main(smk):
    model = load_model(smk.input.model, smk.params.device, smk.params.dtype)
    table = read_edits(smk.input.edits)
    facts, edits = join_facts(read_table(smk.input.facts, FACTS), table), layer_edits(table, model)
    activation = pruning.mean_activation(model, edits.layer, facts)
    facts, edits = sample(facts, edits, smk.params.facts)

    def compute(group):
        states = pruning.states_of(model, edits[group].alone, activation, smk.params.shares)
        return score_states(model, facts.iloc[group], edits[group], states)

    source = job.provenance(smk, model.info)
    with Journal.beside(smk.output[0], [source, job.input_hashes(smk)]) as journal:
        scores = run_batches([[i] for i in range(len(facts))], compute, journal, job.Progress(len(facts), "edits"))
        scored = reversal_table(facts, pruning.columns_of(smk.params.shares), scores)
        write_table(smk.output.reversal, PRUNING, scored, source)


job.run(globals(), main)
