# needs: training edits and their facts, a model
# produces: {model}/{method}/{mask}/seed{seed}/mask.safetensors, mask_training.parquet, mask_structure.parquet


rule train_mask:
    input:
        model="<assets>/models/{model}",
        facts=train_facts,
        edits=train_edits,
    output:
        mask="<mask>/mask.safetensors",
        training="<mask>/mask_training.parquet",
    params:
        mask=lambda wildcards: dataclasses.asdict(RUN.models[wildcards.model].mask),
        plan=mask_plan,
        seed=RUN.seed,
        device=of_model("device"),
        dtype=of_model("dtype"),
        code=code("train_mask.py"),
    log:
        "<method>/logs/train_mask/{mask}/seed{seed}.log",
    benchmark:
        "<method>/benchmarks/train_mask/{mask}/seed{seed}.tsv"
    conda:
        "../envs/model.yaml"
    # the main mask is waited for; those of a study are many, and one thread each is the better use of the cores
    threads: lambda wildcards: 2 if wildcards.mask == MAIN else 1
    resources:
        # the model, and what is kept of the texts
        mem_mb=lambda wildcards, attempt: model_memory(1500 + of_model("mask")(wildcards).cache_mb)(wildcards, attempt),
        runtime=doubled_each_attempt(480),
    script:
        "../workflow_scripts/train_mask.py"


rule measure_mask_structure:
    input:
        mask="<mask>/mask.safetensors",
    output:
        structure="<mask>/mask_structure.parquet",
    params:
        code=code("measure_mask_structure.py"),
    log:
        "<method>/logs/measure_mask_structure/{mask}/seed{seed}.log",
    benchmark:
        "<method>/benchmarks/measure_mask_structure/{mask}/seed{seed}.tsv"
    conda:
        "../envs/model.yaml"
    threads: 1
    resources:
        mem_mb=doubled_each_attempt(800),
    localrule: True
    script:
        "../workflow_scripts/measure_mask_structure.py"
