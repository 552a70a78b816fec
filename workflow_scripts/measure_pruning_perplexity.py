"""Perplexity of a few test edits, pruned without training."""

import job
from model_job import Inputs, perplexity_windows, working
from onemask.io.files import write_table
from onemask.measuring.perplexity import sampled
from onemask.measuring.pruning import mean_activation, measure_perplexity
from onemask.measuring.schemas import PRUNING_PERPLEXITY


def main(smk):
    inputs = Inputs(smk)
    model = inputs.model
    activation = mean_activation(model, inputs.edits.layer, inputs.facts)
    cases, edits = sampled(inputs.facts["case_id"].to_numpy(), inputs.edits, smk.params.edits, int(smk.wildcards.seed))
    text, source = perplexity_windows(smk, model), job.provenance(smk, model.info)
    with working(smk, source, len(cases), "edits") as work:
        table = measure_perplexity(model, text, cases, edits, activation, smk.params.shares, work)
        write_table(smk.output.perplexity, PRUNING_PERPLEXITY, table, source)


job.run(globals(), main)
