# needs: edits, a mask, a model, the perplexity corpus
# produces: {model}/{method}/{mask}/seed{seed}/{reversal/{split},neighborhood,perplexity}.parquet,
#   measures/{reversal,perplexity}.parquet


rule measure_reversal:
    input:
        model=f"{ASSETS}/models/{{model}}",
        facts=f"{RUN}/facts/{{split}}.parquet",
        edits=edit_chunks(None),
        mask=f"{RUN}/{{model}}/{{method}}/{{mask}}/seed{{seed}}/mask.safetensors",
    output:
        reversal=f"{RUN}/{{model}}/{{method}}/{{mask}}/seed{{seed}}/reversal/{{split}}.parquet",
    params:
        plan=mask_plan,
        seed=SETTINGS["seed"],
        as_released=SETTINGS["as_released"],
        batch_tokens=SETTINGS["scoring_batch_tokens"],
        device=setting("device"),
        dtype=setting("dtype"),
        code=code("measure_reversal.py"),
    log:
        f"{RUN}/{{model}}/{{method}}/logs/measure_reversal/{{mask}}/seed{{seed}}/{{split}}.log",
    benchmark:
        f"{RUN}/{{model}}/{{method}}/benchmarks/measure_reversal/{{mask}}/seed{{seed}}/{{split}}.tsv"
    conda:
        "../envs/model.yaml"
    threads: 1
    resources:
        mem_mb=model_memory(500),
        runtime=doubled_each_attempt(120),
    script:
        "../workflow_scripts/measure_reversal.py"


rule measure_perplexity:
    input:
        model=f"{ASSETS}/models/{{model}}",
        corpus=f"{ASSETS}/corpora/{SETTINGS['corpora']['perplexity']}.parquet",
        edits=test_edits,
        mask=f"{RUN}/{{model}}/{{method}}/{{mask}}/seed{{seed}}/mask.safetensors",
    output:
        perplexity=f"{RUN}/{{model}}/{{method}}/{{mask}}/seed{{seed}}/perplexity.parquet",
    params:
        tokens=SETTINGS["perplexity"]["tokens"],
        window=SETTINGS["perplexity"]["window"],
        edits=perplexity_edits,
        random=lambda wildcards: mask_plan(wildcards)["random"],
        device=setting("device"),
        dtype=setting("dtype"),
        code=code("measure_perplexity.py"),
    log:
        f"{RUN}/{{model}}/{{method}}/logs/measure_perplexity/{{mask}}/seed{{seed}}.log",
    benchmark:
        f"{RUN}/{{model}}/{{method}}/benchmarks/measure_perplexity/{{mask}}/seed{{seed}}.tsv"
    conda:
        "../envs/model.yaml"
    threads: 1
    # the longest of the jobs behind the mask: begun first, it runs beside the others
    priority: 1
    resources:
        mem_mb=model_memory(500),
        runtime=doubled_each_attempt(240),
    script:
        "../workflow_scripts/measure_perplexity.py"


rule measure_neighborhood:
    input:
        model=f"{ASSETS}/models/{{model}}",
        facts=test_facts,
        edits=test_edits,
        mask=f"{RUN}/{{model}}/{{method}}/{{mask}}/seed{{seed}}/mask.safetensors",
    output:
        neighborhood=f"{RUN}/{{model}}/{{method}}/{{mask}}/seed{{seed}}/neighborhood.parquet",
    params:
        prompts=SETTINGS["neighborhood_prompts"],
        random=lambda wildcards: mask_plan(wildcards)["random"],
        batch_tokens=SETTINGS["scoring_batch_tokens"],
        device=setting("device"),
        dtype=setting("dtype"),
        code=code("measure_neighborhood.py"),
    log:
        f"{RUN}/{{model}}/{{method}}/logs/measure_neighborhood/{{mask}}/seed{{seed}}.log",
    benchmark:
        f"{RUN}/{{model}}/{{method}}/benchmarks/measure_neighborhood/{{mask}}/seed{{seed}}.tsv"
    conda:
        "../envs/model.yaml"
    threads: 1
    resources:
        mem_mb=model_memory(500),
        runtime=doubled_each_attempt(60),
    script:
        "../workflow_scripts/measure_neighborhood.py"


rule summarise_reversal:
    input:
        reversal=lambda wildcards: reversal_tables(wildcards, splits_measured(wildcards)),
        neighborhood=neighborhood_table,
        mask=f"{RUN}/{{model}}/{{method}}/{{mask}}/seed{{seed}}/mask.safetensors",
    output:
        measures=f"{RUN}/{{model}}/{{method}}/{{mask}}/seed{{seed}}/measures/reversal.parquet",
    params:
        split_names=lambda wildcards: splits_measured(wildcards),
        test_split=lambda wildcards: test_split(wildcards.method),
        code=code("summarise_reversal.py"),
    log:
        f"{RUN}/{{model}}/{{method}}/logs/summarise_reversal/{{mask}}/seed{{seed}}.log",
    benchmark:
        f"{RUN}/{{model}}/{{method}}/benchmarks/summarise_reversal/{{mask}}/seed{{seed}}.tsv"
    conda:
        "../envs/model.yaml"
    threads: 1
    resources:
        mem_mb=doubled_each_attempt(1000),
    localrule: True
    script:
        "../workflow_scripts/summarise_reversal.py"


rule summarise_perplexity:
    input:
        perplexity=f"{RUN}/{{model}}/{{method}}/{{mask}}/seed{{seed}}/perplexity.parquet",
    output:
        measures=f"{RUN}/{{model}}/{{method}}/{{mask}}/seed{{seed}}/measures/perplexity.parquet",
    params:
        code=code("summarise_perplexity.py"),
    log:
        f"{RUN}/{{model}}/{{method}}/logs/summarise_perplexity/{{mask}}/seed{{seed}}.log",
    benchmark:
        f"{RUN}/{{model}}/{{method}}/benchmarks/summarise_perplexity/{{mask}}/seed{{seed}}.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=doubled_each_attempt(800),
    localrule: True
    script:
        "../workflow_scripts/summarise_perplexity.py"
