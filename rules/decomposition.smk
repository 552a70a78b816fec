# needs: test edits and their facts, a mask, a model
# produces: {model}/{method}/shared/seed{seed}/decomposition.parquet


rule decompose:
    input:
        model=f"{ASSETS}/models/{{model}}",
        facts=test_facts,
        edits=test_edits,
        mask=f"{RUN}/{{model}}/{{method}}/{MAIN}/seed{{seed}}/mask.safetensors",
    output:
        decomposition=f"{RUN}/{{model}}/{{method}}/{MAIN}/seed{{seed}}/decomposition.parquet",
    params:
        facts=SETTINGS["decomposition"]["facts"],
        device=setting("device"),
        dtype=setting("dtype"),
        code=code("decompose.py"),
    log:
        f"{RUN}/{{model}}/{{method}}/logs/decompose/seed{{seed}}.log",
    benchmark:
        f"{RUN}/{{model}}/{{method}}/benchmarks/decompose/seed{{seed}}.tsv"
    conda:
        "../envs/model.yaml"
    threads: 1
    resources:
        mem_mb=larger_each_attempt(2500),
    script:
        "../workflow_scripts/decompose.py"
