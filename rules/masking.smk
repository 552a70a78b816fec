# needs: training edits and their facts, a model
# produces: {model}/{method}/{mask}/seed{seed}/mask.safetensors, mask_training.parquet, mask_structure.parquet


rule train_mask:
    input:
        model=f"{ASSETS}/models/{{model}}",
        facts=lambda wildcards: f"{RUN}/facts/{train_split(wildcards.method)}.parquet",
        edits=lambda wildcards: edit_chunks(train_split(wildcards.method))(wildcards),
    output:
        mask=f"{RUN}/{{model}}/{{method}}/{{mask}}/seed{{seed}}/mask.safetensors",
        training=f"{RUN}/{{model}}/{{method}}/{{mask}}/seed{{seed}}/mask_training.parquet",
    params:
        mask=setting("mask"),
        plan=mask_plan,
        seed=SETTINGS["seed"],
        device=setting("device"),
        dtype=setting("dtype"),
        code=code("train_mask.py"),
    log:
        f"{RUN}/{{model}}/{{method}}/logs/train_mask/{{mask}}/seed{{seed}}.log",
    benchmark:
        f"{RUN}/{{model}}/{{method}}/benchmarks/train_mask/{{mask}}/seed{{seed}}.tsv"
    conda:
        "../envs/model.yaml"
    # the main mask is waited for; those of a study are many, and one thread each is the better use of the cores
    threads: lambda wildcards: 2 if wildcards.mask == MAIN else 1
    resources:
        # the model, and what is kept of the texts
        mem_mb=lambda wildcards, attempt: model_memory(1500 + setting("mask")(wildcards)["cache_mb"])(wildcards, attempt),
        runtime=doubled_each_attempt(480),
    script:
        "../workflow_scripts/train_mask.py"


rule measure_mask_structure:
    input:
        mask=f"{RUN}/{{model}}/{{method}}/{{mask}}/seed{{seed}}/mask.safetensors",
    output:
        structure=f"{RUN}/{{model}}/{{method}}/{{mask}}/seed{{seed}}/mask_structure.parquet",
    params:
        code=code("measure_mask_structure.py"),
    log:
        f"{RUN}/{{model}}/{{method}}/logs/measure_mask_structure/{{mask}}/seed{{seed}}.log",
    benchmark:
        f"{RUN}/{{model}}/{{method}}/benchmarks/measure_mask_structure/{{mask}}/seed{{seed}}.tsv"
    conda:
        "../envs/model.yaml"
    threads: 1
    resources:
        mem_mb=doubled_each_attempt(800),
    localrule: True
    script:
        "../workflow_scripts/measure_mask_structure.py"
