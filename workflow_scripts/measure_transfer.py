"""Score the test edits of one method under the masks that were trained on the edits of every method."""

import job
from model_job import Inputs, working
from onemask.data.schemas import FACTS
from onemask.editors.tables import subset
from onemask.io.files import read_tables, write_table
from onemask.masking.masks import read_mask
from onemask.masking.selection import unseen
from onemask.measuring.reversal import reversal
from onemask.measuring.schemas import TRANSFER
from onemask.measuring.states import transferred


def main(smk):
    inputs = Inputs(smk)
    model = inputs.model
    rows = unseen(inputs.facts, read_tables(smk.input.training, FACTS))
    facts, edits = subset(inputs.facts, inputs.edits, rows)
    masks = [read_mask(path, model, edits) for path in smk.input.masks]
    states = transferred(edits, dict(zip(smk.params.methods, masks, strict=True)), int(smk.wildcards.seed))
    source = job.provenance(smk, model.info)
    with working(smk, source, len(facts), "facts") as work:
        write_table(smk.output.reversal, TRANSFER, reversal(model, facts, edits, states, work), source)


job.run(globals(), main)
