"""Measure the size of every test edit's update where the mask prunes, and everywhere."""

import job
from onemask.data.schemas import FACTS
from onemask.editors.tables import join_facts, layer_edits, read_edits
from onemask.io.batching import Journal
from onemask.io.files import read_table, write_table
from onemask.masking.masks import read_mask
from onemask.measuring.schemas import UPDATE_MAGNITUDE
from onemask.measuring.update_magnitude import by_edit


def main(smk):
    table = read_edits(smk.input.edits)
    facts, edits = join_facts(read_table(smk.input.facts, FACTS), table), layer_edits(table)
    mask = read_mask(smk.input.mask, edits=edits)
    source, progress = job.provenance(smk), job.Progress(len(facts), "edits")
    with Journal.beside(smk.output[0], [source, job.input_hashes(smk)]) as journal:
        write_table(smk.output.magnitude, UPDATE_MAGNITUDE, by_edit(facts, edits, mask.keep, journal, progress), source)


job.run(globals(), main)
