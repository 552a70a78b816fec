"""Measure the pruned share of each output dimension of the edited matrix."""

import job
from onemask.io.files import write_table
from onemask.masking.masks import read_mask, structure


def main(smk):
    write_table(smk.output.structure, "mask_structure", structure(read_mask(smk.input.mask)), job.provenance(smk))


job.run(globals(), main, torch_threads=False)
