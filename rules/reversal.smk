# needs: edits, a mask, a model, the perplexity corpus
# produces: {model}/{method}/seed{seed}/reversal/{split}.parquet, perplexity.parquet, measures/{reversal,perplexity}.parquet


rule measure_reversal:
    input:
        model=f"{ASSETS}/models/{{model}}",
        facts=f"{RUN}/facts/{{split}}.parquet",
        edits=edit_chunks(None),
        mask=f"{RUN}/{{model}}/{{method}}/seed{{seed}}/mask.safetensors",
    output:
        reversal=f"{RUN}/{{model}}/{{method}}/seed{{seed}}/reversal/{{split}}.parquet",
    params:
        batch_tokens=SETTINGS["scoring_batch_tokens"],
        device=setting("device"),
        dtype=setting("dtype"),
        code=code("measure_reversal.py"),
    log:
        f"{RUN}/{{model}}/{{method}}/logs/measure_reversal/seed{{seed}}/{{split}}.log",
    benchmark:
        f"{RUN}/{{model}}/{{method}}/benchmarks/measure_reversal/seed{{seed}}/{{split}}.tsv"
    conda:
        "../envs/model.yaml"
    threads: 1
    resources:
        mem_mb=larger_each_attempt(3000),
    script:
        "../workflow_scripts/measure_reversal.py"


rule measure_perplexity:
    input:
        model=f"{ASSETS}/models/{{model}}",
        corpus=f"{ASSETS}/corpora/{SETTINGS['corpora']['perplexity']}.parquet",
        edits=edit_chunks("test"),
        mask=f"{RUN}/{{model}}/{{method}}/seed{{seed}}/mask.safetensors",
    output:
        perplexity=f"{RUN}/{{model}}/{{method}}/seed{{seed}}/perplexity.parquet",
    params:
        tokens=SETTINGS["perplexity"]["tokens"],
        window=SETTINGS["perplexity"]["window"],
        edits=SETTINGS["perplexity"]["edits"],
        device=setting("device"),
        dtype=setting("dtype"),
        code=code("measure_perplexity.py"),
    log:
        f"{RUN}/{{model}}/{{method}}/logs/measure_perplexity/seed{{seed}}.log",
    benchmark:
        f"{RUN}/{{model}}/{{method}}/benchmarks/measure_perplexity/seed{{seed}}.tsv"
    conda:
        "../envs/model.yaml"
    threads: 1
    # the longest of the jobs behind the mask: begun first, it runs beside the others
    priority: 1
    resources:
        mem_mb=larger_each_attempt(3000),
    script:
        "../workflow_scripts/measure_perplexity.py"


rule summarise_reversal:
    input:
        reversal=expand(f"{RUN}/{{{{model}}}}/{{{{method}}}}/seed{{{{seed}}}}/reversal/{{split}}.parquet", split=ROME_SPLITS),
        mask=f"{RUN}/{{model}}/{{method}}/seed{{seed}}/mask.safetensors",
    output:
        measures=f"{RUN}/{{model}}/{{method}}/seed{{seed}}/measures/reversal.parquet",
    params:
        split_names=ROME_SPLITS,
        code=code("summarise_reversal.py"),
    log:
        f"{RUN}/{{model}}/{{method}}/logs/summarise_reversal/seed{{seed}}.log",
    benchmark:
        f"{RUN}/{{model}}/{{method}}/benchmarks/summarise_reversal/seed{{seed}}.tsv"
    conda:
        "../envs/model.yaml"
    threads: 1
    resources:
        mem_mb=larger_each_attempt(1000),
    script:
        "../workflow_scripts/summarise_reversal.py"


rule summarise_perplexity:
    input:
        perplexity=f"{RUN}/{{model}}/{{method}}/seed{{seed}}/perplexity.parquet",
    output:
        measures=f"{RUN}/{{model}}/{{method}}/seed{{seed}}/measures/perplexity.parquet",
    params:
        code=code("summarise_perplexity.py"),
    log:
        f"{RUN}/{{model}}/{{method}}/logs/summarise_perplexity/seed{{seed}}.log",
    benchmark:
        f"{RUN}/{{model}}/{{method}}/benchmarks/summarise_perplexity/seed{{seed}}.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=larger_each_attempt(800),
    script:
        "../workflow_scripts/summarise_perplexity.py"
