# needs: what the stages measured, by fact, of every method's main mask (first seed); config/claims.yaml
# produces: {model}/{method}/shared/seed{seed}/claims.parquet, tables/claims.{parquet,csv,md,html}, claims.rst (the report's first page),
#   paper_vs_ours.{parquet,csv,md,html}


rule evaluate_claims:
    input:
        edits=test_edits,
        mask="<main>/mask.safetensors",
        reversal=lambda wildcards: [f"<main>/reversal/{split}.parquet" for split in RUN.splits_of(wildcards.method)],
        perplexity="<main>/perplexity.parquet",
        decomposition="<main>/decomposition.parquet",
        attention="<main>/attention.parquet",
        patching="<main>/patching.parquet",
        magnitude="<main>/update_magnitude.parquet",
        blocking=lambda wildcards: [] if RUN.joint(wildcards.method) else blocking_tables(wildcards, "<main>"),
        collapse=lambda wildcards: ["<main>/collapse.parquet"] * RUN.has_collapse(wildcards.method),
        pruning=lambda wildcards: ["<method>/pruning.parquet"] * RUN.has_pruning(wildcards.method),
    output:
        claims="<main>/claims.parquet",
    params:
        claims=CLAIMS,
        kind=lambda wildcards: "joint" if RUN.joint(wildcards.method) else "single",
        split_names=lambda wildcards: [SPLITS[name].role for name in RUN.splits_of(wildcards.method)],
        layers=by_method_and_model(RUN.edited_layers),
        as_released=RUN.as_released,
        code=code("evaluate_claims.py"),
    log:
        "<method>/logs/evaluate_claims/seed{seed}.log",
    benchmark:
        "<method>/benchmarks/evaluate_claims/seed{seed}.tsv"
    conda:
        "../envs/model.yaml"
    threads: 1
    resources:
        mem_mb=doubled_each_attempt(2000),
    localrule: True
    script:
        "../workflow_scripts/evaluate_claims.py"


rule claims:
    input:
        claims=of_main("claims.parquet"),
    output:
        parquet="<run>/tables/claims.parquet",
        csv="<run>/tables/claims.csv",
        md="<run>/tables/claims.md",
        caption="<run>/tables/claims.rst",
        opening="<run>/claims.rst",
        html=report(
            "<run>/tables/claims.html",
            caption=str(Path(f"{RUN.folder}/tables/claims.rst").absolute()),
            category="1 Claims",
            labels={"result": "claims of the paper"},
        ),
    params:
        run=RUN.run,
        code=code("judge_claims.py"),
    log:
        "<run>/logs/claims.log",
    benchmark:
        "<run>/benchmarks/claims.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=doubled_each_attempt(800),
    localrule: True
    script:
        "../workflow_scripts/judge_claims.py"


rule paper_vs_ours:
    input:
        values=from_here("config", "paper_values.yaml"),
        measures=[path for path in TABLE_FILES if path.endswith(".parquet")],
    output:
        parquet="<run>/paper_vs_ours.parquet",
        csv="<run>/paper_vs_ours.csv",
        md="<run>/paper_vs_ours.md",
        caption="<run>/paper_vs_ours.rst",
        html=report(
            "<run>/paper_vs_ours.html",
            caption=str(Path(f"{RUN.folder}/paper_vs_ours.rst").absolute()),
            category="1 Claims",
            labels={"result": "the paper's figures beside ours"},
        ),
    params:
        models=list(RUN.models),
        labels={model: RUN.models[model].label for model in RUN.models},
        mask_settings={model: RUN.common_mask_settings(model) for model in RUN.models},
        code=code("compare_with_paper.py"),
    log:
        "<run>/logs/paper_vs_ours.log",
    benchmark:
        "<run>/benchmarks/paper_vs_ours.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=doubled_each_attempt(800),
    localrule: True
    script:
        "../workflow_scripts/compare_with_paper.py"
