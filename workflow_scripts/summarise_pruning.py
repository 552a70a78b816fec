"""From edits pruned without training to RSR and Top-1 with intervals, and the least share that reverses 90%."""

import pandas as pd

import job
from onemask.io.files import read_table, write_table
from onemask.measuring.schemas import PRUNING
from onemask.summaries import measures
from onemask.summaries.mechanism import reached
from onemask.summaries.schemas import MEASURES


def main(smk):
    key, seed = smk.params.key, int(smk.wildcards.seed)
    table = read_table(smk.input.reversal, PRUNING)
    rows = measures.pruned_measures([(columns, columns["share"]) for columns, _ in measures.by_state(table)], seed, **key)
    rows += measures.reversal_measures(table, smk.params.test_split, seed, **key)
    rows += reached(pd.DataFrame(rows), 0.9, smk.params.test_split, seed, **key)
    write_table(smk.output.measures, MEASURES, rows, job.provenance(smk))


job.run(globals(), main, torch_threads=False)
