"""Lay the paper's figures beside the run's; write them as Parquet, CSV, Markdown and HTML."""

import job
from onemask.io.files import read_tables, write_table, write_text
from onemask.summaries import paper
from onemask.summaries.schemas import MEASURES, PAPER_VS_OURS


def main(smk):
    printed = paper.read(smk.input.values)
    measures, models = read_tables(smk.input.measures, MEASURES), list(smk.params.models)
    table = paper.compare(printed.values, measures, models, smk.params.mask_settings)
    labels = printed.labels | smk.params.labels
    shown, caption = paper.wide(table, models, labels, printed.words), paper.caption(printed, models, labels)
    write_table(smk.output.parquet, PAPER_VS_OURS, table, job.provenance(smk))
    write_text(smk.output.csv, shown.to_csv(index=False))
    write_text(smk.output.md, paper.markdown(shown, caption))
    write_text(smk.output.html, paper.html(shown))
    write_text(smk.output.caption, caption)


job.run(globals(), main, torch_threads=False)
