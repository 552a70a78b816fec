"""Measure the perplexity of every test edit, and under the mask of those where it is worst."""

import job
from model_job import Inputs, perplexity_windows, working
from onemask.io.files import write_table
from onemask.measuring.perplexity import collapse
from onemask.measuring.schemas import PERPLEXITY
from onemask.measuring.states import shown


def main(smk):
    inputs = Inputs(smk)
    model, cases, states = inputs.model, inputs.table["case_id"].unique(), shown(inputs.edits, inputs.mask)
    text, searched = perplexity_windows(smk, model), max(1, smk.params.search_tokens // smk.params.window)
    source = job.provenance(smk, model.info)
    with working(smk, source, len(cases), "edits") as work:
        table = collapse(model, text, cases, inputs.edits, states, smk.params.worst, searched, work)
        write_table(smk.output.perplexity, PERPLEXITY, table, source)


job.run(globals(), main)
