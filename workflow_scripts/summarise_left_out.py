"""From the facts that masks without their relations were measured on to one row of measures."""

import numpy as np

import job
from onemask.io.files import read_table, write_table
from onemask.masking.masks import read_mask
from onemask.measuring.schemas import REVERSAL
from onemask.summaries import measures
from onemask.summaries.schemas import MEASURES
from onemask.summaries.studies import left_out


def main(smk):
    seed, key = int(smk.wildcards.seed), smk.params.key
    masks = [read_mask(path) for path in smk.input.masks]
    pruned = float(np.mean([mask.pruned for mask in masks]))
    rows = measures.pruned_measures([({"state": "left_out"}, pruned)], seed, **key)
    table = left_out([read_table(path, REVERSAL) for path in smk.input.reversal])
    rows += measures.reversal_measures(table, smk.params.test_split, seed, **key)
    write_table(smk.output.measures, MEASURES, rows, job.provenance(smk))


job.run(globals(), main, torch_threads=False)
