"""From perplexities by edit to means with intervals."""

import job
from onemask.io.files import read_table, write_table
from onemask.summaries.measures import perplexity_measures


def main(smk):
    key = {"model": smk.wildcards.model, "method": smk.wildcards.method}
    table = perplexity_measures(read_table(smk.input.perplexity, "perplexity"), int(smk.wildcards.seed), **key)
    write_table(smk.output.measures, "measures", table, job.provenance(smk))


job.run(globals(), main, torch_threads=False)
