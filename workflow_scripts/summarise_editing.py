"""From edits to success by method, split and relation, with intervals."""

import job
from onemask.editors.schemas import EDITS
from onemask.io.files import read_tables, write_table
from onemask.summaries.measures import editing_measures
from onemask.summaries.schemas import MEASURES


def main(smk):
    table = read_tables(smk.input.edits, EDITS)
    rows = editing_measures(table, smk.wildcards.split, smk.params.seed, **smk.params.key)
    write_table(smk.output.measures, MEASURES, rows, job.provenance(smk))


job.run(globals(), main, torch_threads=False)
