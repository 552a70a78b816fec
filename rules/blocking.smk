# needs: test edits of facts that are edited alone, templates, a mask, a model
# produces: {model}/{method}/{mask}/seed{seed}/blocking/{chunk}.parquet, measures/blocking.parquet


rule measure_blocking:
    input:
        model=f"{ASSETS}/models/{{model}}",
        facts=f"{RUN}/facts/test.parquet",
        edits=f"{RUN}/{{model}}/{{method}}/edits/test/{{chunk}}.parquet",
        templates=f"{RUN}/{{model}}/templates.parquet",
        moments=moments,
        mask=f"{RUN}/{{model}}/{{method}}/{{mask}}/seed{{seed}}/mask.safetensors",
    output:
        blocking=f"{RUN}/{{model}}/{{method}}/{{mask}}/seed{{seed}}/blocking/{{chunk}}.parquet",
    params:
        method=lambda wildcards: base(wildcards.method),
        settings=editing,
        layers=moment_layers,
        batch_tokens=SETTINGS["scoring_batch_tokens"],
        device=setting("device"),
        dtype=setting("dtype"),
        code=lambda wildcards: code("measure_blocking.py", editor_modules(base(wildcards.method))[0]),
    log:
        f"{RUN}/{{model}}/{{method}}/logs/measure_blocking/{{mask}}/seed{{seed}}/{{chunk}}.log",
    benchmark:
        f"{RUN}/{{model}}/{{method}}/benchmarks/measure_blocking/{{mask}}/seed{{seed}}/{{chunk}}.tsv"
    conda:
        "../envs/model.yaml"
    threads: 1
    resources:
        mem_mb=model_memory(),
        runtime=doubled_each_attempt(120),
    script:
        "../workflow_scripts/measure_blocking.py"


rule summarise_blocking:
    input:
        blocking=lambda wildcards: blocking_tables(wildcards),
    output:
        measures=f"{RUN}/{{model}}/{{method}}/{{mask}}/seed{{seed}}/measures/blocking.parquet",
    params:
        code=code("summarise_blocking.py"),
    log:
        f"{RUN}/{{model}}/{{method}}/logs/summarise_blocking/{{mask}}/seed{{seed}}.log",
    benchmark:
        f"{RUN}/{{model}}/{{method}}/benchmarks/summarise_blocking/{{mask}}/seed{{seed}}.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=doubled_each_attempt(800),
    localrule: True
    script:
        "../workflow_scripts/summarise_blocking.py"
