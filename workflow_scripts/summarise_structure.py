"""From the mask's structure and the updates' sizes to measures (figures 11 and 12, table 8)."""

import job
from onemask.io.files import read_table, write_table
from onemask.masking.schemas import MASK_STRUCTURE
from onemask.measuring.schemas import UPDATE_MAGNITUDE
from onemask.summaries import mechanism
from onemask.summaries.schemas import MEASURES


def main(smk):
    key, seed = smk.params.key, int(smk.wildcards.seed)
    rows = mechanism.structure_measures(read_table(smk.input.structure, MASK_STRUCTURE), smk.params.layers, seed, **key)
    sizes = read_table(smk.input.magnitude, UPDATE_MAGNITUDE)
    rows += mechanism.magnitude_measures(sizes, smk.params.test_split, seed, **key)
    write_table(smk.output.measures, MEASURES, rows, job.provenance(smk))


job.run(globals(), main, torch_threads=False)
