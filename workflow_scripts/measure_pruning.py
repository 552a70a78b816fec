"""Prune each test edit without training, and score what is left of it."""

import job
from model_job import Inputs, working
from onemask.editors.tables import sample
from onemask.io.files import write_table
from onemask.measuring.pruning import mean_activation, measure_reversal
from onemask.measuring.schemas import PRUNING


def main(smk):
    inputs = Inputs(smk)
    model = inputs.model
    activation = mean_activation(model, inputs.edits.layer, inputs.facts)
    facts, edits = sample(inputs.facts, inputs.edits, smk.params.facts)
    source = job.provenance(smk, model.info)
    with working(smk, source, len(facts), "edits") as work:
        table = measure_reversal(model, facts, edits, activation, smk.params.shares, work)
        write_table(smk.output.reversal, PRUNING, table, source)


job.run(globals(), main)
