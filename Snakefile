# onemask: every stage of the study as one DAG. Run it with --configfile config/demo.yaml (see README.md).
from snakemake.utils import min_version

min_version("9.27")


include: "rules/common.smk"
include: "rules/inputs.smk"
include: "rules/assets.smk"
include: "rules/facts.smk"
include: "rules/statistics.smk"
include: "rules/editing.smk"
include: "rules/masking.smk"
include: "rules/reversal.smk"
include: "rules/blocking.smk"
include: "rules/mechanism.smk"
include: "rules/studies.smk"
include: "rules/tables.smk"
include: "rules/figures.smk"
include: "rules/claims.smk"
include: "rules/provenance.smk"
include: "rules/report.smk"
include: "rules/docs.smk"


rule all:
    default_target: True
    input:
        REPORT,
        TABLE_FILES,
        FIGURE_FILES,
        PAGES,
    localrule: True


# what is said of a job that starts: one line; an error names its inputs, outputs and logs
for each in workflow.rules:
    each.message = "{rule} {wildcards}"


onsuccess:
    headline = Path(f"{RUN}/tables/table2.md")
    if headline.exists() and Path(REPORT).exists():
        print(f"\n{headline.read_text(encoding='utf-8')}\nReport: {REPORT}")
