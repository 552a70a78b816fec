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


# behind the rules, since Snakemake constrains what stands written in a path, and not what a pathvar stands for
wildcard_constraints:
    model="|".join(RUN.models),
    method="|".join([*RUN.methods, *RUN.compare, *RUN.layer_methods.values()]),
    mask="|".join(RUN.masks),
    split="|".join(RUN.splits),
    seed=r"\d+",
    layers=r"\d+(-\d+)*",
    chunk=r"\d+|all",


rule all:
    default_target: True
    input:
        "<run>/report.html",
        TABLE_FILES,
        FIGURE_FILES,
        PAGES,
    localrule: True


onsuccess:
    headline = Path(f"{RUN.folder}/tables/table2.md")
    page = Path(f"{RUN.folder}/report.html")
    if headline.exists() and page.exists():
        print(f"\n{headline.read_text(encoding='utf-8')}\nReport: {page}")
