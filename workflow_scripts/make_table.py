"""Select a table's measures and write them as Parquet, CSV and Markdown."""

import job
from onemask import tables
from onemask.files import read_tables, write_table, write_text


def main(smk):
    table = tables.select(read_tables(smk.input.measures, "measures"), smk.params.name)
    write_table(smk.output.parquet, "measures", table, job.provenance(smk))
    write_text(smk.output.csv, tables.wide(table, smk.params.name).to_csv(index=False))
    write_text(smk.output.html, tables.html(table, smk.params.name))
    write_text(smk.output.caption, tables.caption(table, smk.params.name))
    write_text(smk.output.md, tables.markdown(table, smk.params.name))


job.run(globals(), main, torch_threads=False)
