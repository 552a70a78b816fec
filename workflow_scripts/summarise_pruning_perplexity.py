"""From perplexities of edits pruned without training to means with intervals."""

import job
from onemask.io.files import read_table, write_table
from onemask.measuring.schemas import PRUNING_PERPLEXITY
from onemask.summaries.measures import perplexity_measures
from onemask.summaries.schemas import MEASURES


def main(smk):
    table = perplexity_measures(read_table(smk.input.perplexity, PRUNING_PERPLEXITY), int(smk.wildcards.seed), **smk.params.key)
    write_table(smk.output.measures, MEASURES, table, job.provenance(smk))


job.run(globals(), main, torch_threads=False)
