"""From the perplexity of every edit to those where it is worst (table 6)."""

import job
from onemask.io.files import read_table, write_table
from onemask.measuring.schemas import PERPLEXITY
from onemask.summaries.mechanism import collapse_measures
from onemask.summaries.schemas import MEASURES


def main(smk):
    key, seed = smk.params.key, int(smk.wildcards.seed)
    rows = collapse_measures(read_table(smk.input.perplexity, PERPLEXITY), smk.params.test_split, seed, **key)
    write_table(smk.output.measures, MEASURES, rows, job.provenance(smk))


job.run(globals(), main, torch_threads=False)
