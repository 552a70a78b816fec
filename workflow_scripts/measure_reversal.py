"""Score the facts of a split in every state of the edited layer that a mask is measured in."""

import job
from model_job import Inputs, working
from onemask.editors.tables import subset
from onemask.io.files import write_table
from onemask.masking.selection import measured
from onemask.measuring.reversal import reversal
from onemask.measuring.schemas import REVERSAL
from onemask.measuring.states import states_of


def main(smk):
    inputs, plan = Inputs(smk), smk.params.plan
    model, mask = inputs.model, inputs.mask
    rows = measured(inputs.facts, plan, smk.wildcards.split, smk.params.seed)
    facts, edits = subset(inputs.facts, inputs.edits, rows)
    states = states_of(edits, mask, int(smk.wildcards.seed), **smk.params.states)
    source = job.provenance(smk, model.info)
    with working(smk, source, len(facts), "facts") as work:
        table = reversal(model, facts, edits, states, work, as_released=smk.params.as_released)
        write_table(smk.output.reversal, REVERSAL, table, source)


job.run(globals(), main)
