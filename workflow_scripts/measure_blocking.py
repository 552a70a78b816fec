"""Edit test facts again, under the active mask."""

import job
from model_job import Inputs, editing_task, working
from onemask.editors.run import edit
from onemask.io.files import write_table
from onemask.measuring.blocking import block
from onemask.measuring.schemas import BLOCKING


def main(smk):
    inputs = Inputs(smk)
    model, facts, edits = inputs.model, inputs.facts, inputs.edits
    keep, steps = inputs.mask.keep.to(edits.device), inputs.table.drop_duplicates("case_id")["steps"]
    source = job.provenance(smk, model.info)
    with working(smk, source, len(facts), "edits") as work:
        task = editing_task(smk, model, facts, work)
        table = block(task, facts, edits.single, steps, keep, lambda task: edit(task, smk.params.method, smk.params.settings))
        write_table(smk.output.blocking, BLOCKING, table, source)


job.run(globals(), main)
