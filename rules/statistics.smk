# needs: a model, the statistics corpus
# produces: {model}/templates.parquet, {model}/second_moments/{layers}.safetensors


rule make_templates:
    input:
        model=f"{ASSETS}/models/{{model}}",
    output:
        templates=f"{RUN}/{{model}}/templates.parquet",
    params:
        counts=template_counts,
        seed=SETTINGS["seed"],
        device=setting("device"),
        dtype=setting("dtype"),
        code=code("make_templates.py"),
    log:
        f"{RUN}/{{model}}/logs/make_templates.log",
    benchmark:
        f"{RUN}/{{model}}/benchmarks/make_templates.tsv"
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
        model=f"{ASSETS}/models/{{model}}",
        corpus=f"{ASSETS}/corpora/{SETTINGS['corpora']['statistics']}.parquet",
    output:
        moments=protected(f"{RUN}/{{model}}/second_moments/{{layers}}.safetensors"),
    params:
        tokens=SETTINGS["statistics"]["tokens"],
        window=SETTINGS["statistics"]["window"],
        batch_tokens=SETTINGS["statistics"]["batch_tokens"],
        device=setting("device"),
        dtype=setting("dtype"),
        code=code("measure_second_moments.py"),
    log:
        f"{RUN}/{{model}}/logs/measure_second_moments/{{layers}}.log",
    benchmark:
        f"{RUN}/{{model}}/benchmarks/measure_second_moments/{{layers}}.tsv"
    conda:
        "../envs/model.yaml"
    threads: 1
    resources:
        mem_mb=model_memory(),
        runtime=doubled_each_attempt(240),
    script:
        "../workflow_scripts/measure_second_moments.py"
