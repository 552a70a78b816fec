# needs: what the stages measured, by fact, of every method's main mask (first seed); config/claims.yaml
# produces: {model}/{method}/shared/seed{seed}/claims.parquet, tables/claims.{parquet,csv,md,html}, claims.rst (the report's first page),
#   paper_vs_ours.{parquet,csv,md,html}

CLAIMS_PAGE = f"{RUN}/claims.rst"


rule evaluate_claims:
    input:
        edits=test_edits,
        mask=at_mask("mask.safetensors"),
        reversal=of_job(lambda method: [at_mask(f"reversal/{split}.parquet") for split in splits_of(method)]),
        perplexity=at_mask("perplexity.parquet"),
        decomposition=at_mask("decomposition.parquet"),
        attention=at_mask("attention.parquet"),
        patching=at_mask("patching.parquet"),
        magnitude=at_mask("update_magnitude.parquet"),
        blocking=of_job(lambda method: [at_mask(f"blocking/{chunk}.parquet") for chunk in blocked_chunks(method)]),
        collapse=of_job(lambda method: [at_mask("collapse.parquet")] * has_collapse(method)),
        pruning=of_job(lambda method: [f"{RUN}/{{model}}/{{method}}/pruning.parquet"] * has_pruning(method)),
    output:
        claims=at_mask("claims.parquet"),
    params:
        claims=CLAIMS,
        kind=lambda wildcards: "together" if together(wildcards.method) else "alone",
        split_names=lambda wildcards: [name.removeprefix("memit_") for name in splits_of(wildcards.method)],
        layers=lambda wildcards: edited_layers(wildcards.method, wildcards.model),
        as_released=SETTINGS["as_released"],
        code=code("evaluate_claims.py"),
    log:
        f"{RUN}/{{model}}/{{method}}/logs/evaluate_claims/seed{{seed}}.log",
    benchmark:
        f"{RUN}/{{model}}/{{method}}/benchmarks/evaluate_claims/seed{{seed}}.tsv"
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
        parquet=f"{RUN}/tables/claims.parquet",
        csv=f"{RUN}/tables/claims.csv",
        md=f"{RUN}/tables/claims.md",
        caption=f"{RUN}/tables/claims.rst",
        opening=CLAIMS_PAGE,
        html=report(
            f"{RUN}/tables/claims.html",
            caption=str(Path(f"{RUN}/tables/claims.rst").absolute()),
            category="1 Claims",
            labels={"result": "claims of the paper"},
        ),
    params:
        run=SETTINGS["run"],
        code=code("judge_claims.py"),
    log:
        f"{RUN}/logs/claims.log",
    benchmark:
        f"{RUN}/benchmarks/claims.tsv"
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
        values=str(ROOT / "config" / "paper_values.yaml"),
        measures=[path for path in TABLE_FILES if path.endswith(".parquet")],
    output:
        parquet=f"{RUN}/paper_vs_ours.parquet",
        csv=f"{RUN}/paper_vs_ours.csv",
        md=f"{RUN}/paper_vs_ours.md",
        caption=f"{RUN}/paper_vs_ours.rst",
        html=report(
            f"{RUN}/paper_vs_ours.html",
            caption=str(Path(f"{RUN}/paper_vs_ours.rst").absolute()),
            category="1 Claims",
            labels={"result": "the paper's figures beside ours"},
        ),
    params:
        models=MODELS,
        labels={model: SETTINGS["model_settings"][model]["label"] for model in MODELS},
        mask_settings={model: common_mask_settings(model) for model in MODELS},
        code=code("compare_with_paper.py"),
    log:
        f"{RUN}/logs/paper_vs_ours.log",
    benchmark:
        f"{RUN}/benchmarks/paper_vs_ours.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=doubled_each_attempt(800),
    localrule: True
    script:
        "../workflow_scripts/compare_with_paper.py"
