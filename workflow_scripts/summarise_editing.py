"""From edits to success by method, split and relation, with intervals."""

import job
from onemask.io.files import read_tables, write_table
from onemask.summaries.measures import editing_measures


def main(smk):
    key = {"model": smk.wildcards.model, "method": smk.wildcards.method}
    table = read_tables(smk.input.edits, "edits")
    rows = editing_measures(table, smk.wildcards.split, smk.params.seed, **key)
    write_table(smk.output.measures, "measures", rows, job.provenance(smk))


job.run(globals(), main, torch_threads=False)
