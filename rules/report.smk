# needs: every table and figure of the run
# produces: report.html, which opens with the claims and their verdicts, and the captions of its figures, figures/{name}.rst


PAGES = [*rules.claims.output, *rules.paper_vs_ours.output, *rules.provenance.output]


report: str(Path(CLAIMS_PAGE).absolute())


rule report:
    input:
        tables=TABLE_FILES,
        figures=FIGURE_FILES,
        pages=PAGES,
        claims=rules.claims.output.parquet,
        config=rules.provenance.output.config,
        stylesheet=ROOT / "rules" / "report.css",
    output:
        html=REPORT,
        captions=expand(f"{RUN}/figures/{{name}}.rst", name=DRAWING),
    params:
        snakefile=str(ROOT / "Snakefile"),
        targets=[path for path in [*TABLE_FILES, *FIGURE_FILES, *PAGES] if path.endswith((".html", ".png"))],
        captions={name: SETTINGS["captions"][name] for name in DRAWING},
        code=code("make_report.py"),
    log:
        f"{RUN}/logs/report.log",
    benchmark:
        f"{RUN}/benchmarks/report.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: 1
    resources:
        mem_mb=doubled_each_attempt(1000),
    localrule: True
    script:
        "../workflow_scripts/make_report.py"
