# needs: Graphviz
# produces: docs/rulegraph.svg, which docs/artefacts.md shows


rule rulegraph:
    output:
        svg="docs/rulegraph.svg",
    params:
        snakefile=from_here("Snakefile"),
        configs=[from_here(path) for path in workflow.configfiles],
        code=code("draw_rulegraph.py"),
    log:
        "<run>/logs/rulegraph.log",
    conda:
        "../envs/workflow.yaml"
    threads: 1
    resources:
        mem_mb=doubled_each_attempt(800),
    localrule: True
    script:
        "../workflow_scripts/draw_rulegraph.py"
