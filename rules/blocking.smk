# needs: single edits of test facts, templates, a mask, a model
# produces: {model}/{method}/{mask}/seed{seed}/blocking/{chunk}.parquet, measures/blocking.parquet


rule measure_blocking:
    input:
        model="<assets>/models/{model}",
        facts="<run>/facts/test.parquet",
        edits="<method>/edits/test/{chunk}.parquet",
        templates="<model>/templates.parquet",
        moments=moments,
        mask="<mask>/mask.safetensors",
    output:
        blocking="<mask>/blocking/{chunk}.parquet",
    params:
        method=by_method(RUN.base),
        relations=lambda wildcards: RUN.chunks(wildcards.method, "test")[wildcards.chunk],
        settings=by_method_and_model(RUN.editing_of),
        layers=by_method_and_model(RUN.moment_layers),
        batch_tokens=RUN.scoring_batch_tokens,
        device=of_model("device"),
        dtype=of_model("dtype"),
        code=lambda wildcards: code("measure_blocking.py", module_file(RUN.base(wildcards.method))),
    log:
        "<method>/logs/measure_blocking/{mask}/seed{seed}/{chunk}.log",
    benchmark:
        "<method>/benchmarks/measure_blocking/{mask}/seed{seed}/{chunk}.tsv"
    conda:
        "../envs/model.yaml"
    threads: 1
    # among the longest of the jobs behind the mask
    priority: 1
    resources:
        mem_mb=model_memory(),
        runtime=doubled_each_attempt(120),
    script:
        "../workflow_scripts/measure_blocking.py"


rule summarise_blocking:
    input:
        blocking=blocking_tables,
    output:
        measures="<mask>/measures/blocking.parquet",
    params:
        key=row_key,
        mask=mask_columns,
        code=code("summarise_blocking.py"),
    log:
        "<method>/logs/summarise_blocking/{mask}/seed{seed}.log",
    benchmark:
        "<method>/benchmarks/summarise_blocking/{mask}/seed{seed}.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=doubled_each_attempt(800),
    localrule: True
    script:
        "../workflow_scripts/summarise_blocking.py"
