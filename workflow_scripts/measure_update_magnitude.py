"""Measure the size of every test edit's update where the mask prunes, and everywhere."""

import job
from model_job import Inputs, working
from onemask.io.files import write_table
from onemask.measuring.schemas import UPDATE_MAGNITUDE
from onemask.measuring.update_magnitude import by_edit


def main(smk):
    inputs, source = Inputs(smk), job.provenance(smk)
    with working(smk, source, len(inputs.facts), "edits") as work:
        table = by_edit(inputs.facts, inputs.edits, inputs.mask.keep, work)
        write_table(smk.output.magnitude, UPDATE_MAGNITUDE, table, source)


job.run(globals(), main)
