# needs: every table and figure of the run
# produces: report.html, which opens with the claims and their verdicts, and the captions of its figures, figures/{name}.rst


PAGES = [*rules.claims.output, *rules.paper_vs_ours.output, *rules.provenance.output]


report: str(Path(f"{RUN.folder}/claims.rst").absolute())


rule report:
    input:
        tables=TABLE_FILES,
        figures=FIGURE_FILES,
        pages=PAGES,
        claims=rules.claims.output.parquet,
        config=rules.provenance.output.config,
        stylesheet=from_here("rules", "report.css"),
    output:
        html="<run>/report.html",
        captions=expand("<run>/figures/{name}.rst", name=DRAWING),
    params:
        snakefile=from_here("Snakefile"),
        targets=lambda wildcards, input: [path for path in input if path.endswith((".html", ".png"))],
        captions={name: CAPTIONS["figures"][name] for name in DRAWING},
        code=code("make_report.py"),
    log:
        "<run>/logs/report.log",
    benchmark:
        "<run>/benchmarks/report.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: 1
    resources:
        mem_mb=doubled_each_attempt(1000),
    localrule: True
    script:
        "../workflow_scripts/make_report.py"
