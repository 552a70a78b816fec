"""Select a table's measures and write them as Parquet, CSV and Markdown."""

import job
from onemask.io.files import read_tables, write_table, write_text
from onemask.summaries import tables
from onemask.summaries.schemas import MEASURES


def main(smk):
    name, table = smk.params.name, tables.select(read_tables(smk.input.measures, MEASURES), smk.params.name)
    write_table(smk.output.parquet, MEASURES, table, job.provenance(smk))
    shown, caption = tables.wide(table, name), tables.caption(table, name, smk.params.caption, smk.params.as_released)
    write_text(smk.output.csv, shown.to_csv(index=False))
    write_text(smk.output.html, tables.page(shown, caption))
    write_text(smk.output.caption, caption)
    write_text(smk.output.md, tables.markdown(shown, caption))


job.run(globals(), main, torch_threads=False)
