"""From blocked edits to success rates by relation with intervals."""

import job
from onemask.io.files import read_tables, write_table
from onemask.measuring.schemas import BLOCKING
from onemask.summaries.measures import blocking_measures
from onemask.summaries.schemas import MEASURES


def main(smk):
    table = blocking_measures(
        read_tables(smk.input.blocking, BLOCKING), int(smk.wildcards.seed), smk.params.mask, **smk.params.key
    )
    write_table(smk.output.measures, MEASURES, table, job.provenance(smk))


job.run(globals(), main, torch_threads=False)
