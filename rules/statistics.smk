# needs: a model, the statistics corpus
# produces: {model}/templates.parquet, {model}/second_moments/{layers}.safetensors


rule make_templates:
    input:
        model="<assets>/models/{model}",
    output:
        templates="<model>/templates.parquet",
    params:
        counts=lambda wildcards: RUN.template_counts(wildcards.model),
        seed=RUN.seed,
        device=of_model("device"),
        dtype=of_model("dtype"),
        code=code("make_templates.py"),
    log:
        "<model>/logs/make_templates.log",
    benchmark:
        "<model>/benchmarks/make_templates.tsv"
    conda:
        "../envs/model.yaml"
    threads: 1
    resources:
        mem_mb=model_memory(),
        runtime=doubled_each_attempt(60),
    script:
        "../workflow_scripts/make_templates.py"


rule measure_second_moments:
    input:
        model="<assets>/models/{model}",
        corpus=f"<assets>/corpora/{RUN.corpora.statistics}.parquet",
    output:
        moments=protected("<model>/second_moments/{layers}.safetensors"),
    params:
        tokens=RUN.statistics.tokens,
        window=RUN.statistics.window,
        batch_tokens=RUN.statistics.batch_tokens,
        device=of_model("device"),
        dtype=of_model("dtype"),
        code=code("measure_second_moments.py"),
    log:
        "<model>/logs/measure_second_moments/{layers}.log",
    benchmark:
        "<model>/benchmarks/measure_second_moments/{layers}.tsv"
    conda:
        "../envs/model.yaml"
    threads: 1
    resources:
        mem_mb=model_memory(),
        runtime=doubled_each_attempt(240),
    script:
        "../workflow_scripts/measure_second_moments.py"
