"""Give every claim its verdict, corrected over the whole run, and write the page that the report opens with."""

import job
from onemask.io.files import read_tables, write_table, write_text
from onemask.summaries import claims, claims_page
from onemask.summaries.schemas import CLAIMS
from onemask.summaries.tables import STYLE, markdown, page

NOTE = (
    "A claim is supported where its bound, and its margin over the control, hold in resampled facts (20,000 bootstrap resamples "
    "stratified by relation; 95% intervals in brackets), and not supported where one of them fails, two-sided at 0.05 after "
    "Holm's correction over all claims of the run; else it is inconclusive. A figure without an interval is a property of the "
    "one mask or model."
)


def main(smk):
    table = claims.judge(read_tables(smk.input.claims, CLAIMS))
    shown = claims_page.wide(table)
    found = claims_page.summary(table)
    write_table(smk.output.parquet, CLAIMS, table, job.provenance(smk))
    write_text(smk.output.csv, shown.to_csv(index=False))
    caption = f"**Claims of the paper.** {found} {NOTE}\n"
    write_text(smk.output.md, markdown(shown, caption))
    write_text(smk.output.html, page(shown, caption, STYLE.replace("nowrap", "normal")))  # claims are sentences
    write_text(smk.output.caption, caption)
    write_text(smk.output.opening, claims_page.opening(shown, found, NOTE, smk.params.run))


job.run(globals(), main, torch_threads=False)
