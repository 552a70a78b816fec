# needs: training edits and their facts, a model
# produces: {model}/{method}/seed{seed}/mask.safetensors, mask_training.parquet, mask_structure.parquet


rule train_mask:
    input:
        model=f"{ASSETS}/models/{{model}}",
        facts=f"{RUN}/facts/train.parquet",
        edits=edit_chunks("train"),
    output:
        mask=f"{RUN}/{{model}}/{{method}}/seed{{seed}}/mask.safetensors",
        training=f"{RUN}/{{model}}/{{method}}/seed{{seed}}/mask_training.parquet",
    params:
        mask=setting("mask"),
        device=setting("device"),
        dtype=setting("dtype"),
        code=code("train_mask.py"),
    log:
        f"{RUN}/{{model}}/{{method}}/logs/train_mask/seed{{seed}}.log",
    benchmark:
        f"{RUN}/{{model}}/{{method}}/benchmarks/train_mask/seed{{seed}}.tsv"
    conda:
        "../envs/model.yaml"
    threads: 2
    resources:
        mem_mb=larger_each_attempt(4000),
    script:
        "../workflow_scripts/train_mask.py"


rule measure_mask_structure:
    input:
        mask=f"{RUN}/{{model}}/{{method}}/seed{{seed}}/mask.safetensors",
    output:
        structure=f"{RUN}/{{model}}/{{method}}/seed{{seed}}/mask_structure.parquet",
    params:
        code=code("measure_mask_structure.py"),
    log:
        f"{RUN}/{{model}}/{{method}}/logs/measure_mask_structure/seed{{seed}}.log",
    benchmark:
        f"{RUN}/{{model}}/{{method}}/benchmarks/measure_mask_structure/seed{{seed}}.tsv"
    conda:
        "../envs/model.yaml"
    threads: 1
    resources:
        mem_mb=larger_each_attempt(800),
    script:
        "../workflow_scripts/measure_mask_structure.py"
