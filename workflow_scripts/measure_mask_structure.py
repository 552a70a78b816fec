"""Measure the pruned share of each output dimension of the edited matrix."""

import job
from onemask.io.files import write_table
from onemask.masking.masks import read_mask, structure
from onemask.masking.schemas import MASK_STRUCTURE


def main(smk):
    write_table(smk.output.structure, MASK_STRUCTURE, structure(read_mask(smk.input.mask)), job.provenance(smk))


job.run(globals(), main, torch_threads=False)
