"""From edits pruned without training to RSR, Top-1 and perplexity with intervals."""

import job
from onemask import measures
from onemask.files import read_table, write_table


def main(smk):
    key, seed = {"model": smk.wildcards.model, "method": smk.wildcards.method}, int(smk.wildcards.seed)
    table = read_table(smk.input.reversal, "reversal")
    pruned = {state: float(state.rpartition("-")[2]) / 100 for state in table["state"].unique()}
    rows = measures.pruned_measures(pruned, seed, **key)
    rows += measures.reversal_measures(table, smk.params.test_split, seed, **key)
    rows += measures.perplexity_measures(read_table(smk.input.perplexity, "perplexity"), seed, **key)
    write_table(smk.output.measures, "measures", rows, job.provenance(smk))


job.run(globals(), main, torch_threads=False)
