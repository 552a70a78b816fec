"""Score the neighbourhood prompts of the test facts: what else do edits and the mask change?"""

import job
from model_job import Inputs, working
from onemask.io.files import write_table
from onemask.measuring.reversal import neighbours, reversal
from onemask.measuring.schemas import REVERSAL
from onemask.measuring.states import states_of


def main(smk):
    inputs = Inputs(smk)
    model, edits = inputs.model, inputs.edits
    near, owners = neighbours(inputs.facts, smk.params.prompts)
    states = states_of(edits, inputs.mask, int(smk.wildcards.seed), **smk.params.states)
    source = job.provenance(smk, model.info)
    with working(smk, source, len(near), "prompts") as work:
        write_table(smk.output.neighborhood, REVERSAL, reversal(model, near, edits, states, work, owners), source)


job.run(globals(), main)
