"""Measure the perplexity of the original model, and of sampled test edits in every state that a mask is measured in."""

import job
from model_job import Inputs, perplexity_windows, working
from onemask.io.files import write_table
from onemask.measuring.perplexity import measure, sampled
from onemask.measuring.schemas import PERPLEXITY
from onemask.measuring.states import states_of


def main(smk):
    inputs, seed = Inputs(smk), int(smk.wildcards.seed)
    model, mask = inputs.model, inputs.mask
    cases, edits = sampled(inputs.table["case_id"].unique(), inputs.edits, smk.params.edits, seed)
    states = states_of(edits, mask, seed, **smk.params.states)
    text, source = perplexity_windows(smk, model), job.provenance(smk, model.info)
    with working(smk, source, len(cases), "edits") as work:
        write_table(smk.output.perplexity, PERPLEXITY, measure(model, text, cases, edits, states, work), source)


job.run(globals(), main)
