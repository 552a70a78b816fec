# needs: edits, masks by name (onemask.masking.names), knowledge of the facts, a model
# produces: {model}/{method}/studies/seed{seed}/..., measures/{left_out,pruning,transfer,layers}.parquet beside it


rule summarise_left_out:
    input:
        reversal=lambda wildcards: of_folds(f"reversal/{test_split(wildcards.method)}.parquet")(wildcards),
        masks=of_folds("mask.safetensors"),
    output:
        measures=at_study("measures/left_out.parquet"),
    params:
        test_split=lambda wildcards: test_split(wildcards.method),
        code=code("summarise_left_out.py"),
    log:
        f"{RUN}/{{model}}/{{method}}/logs/summarise_left_out/seed{{seed}}.log",
    benchmark:
        f"{RUN}/{{model}}/{{method}}/benchmarks/summarise_left_out/seed{{seed}}.tsv"
    conda:
        "../envs/model.yaml"
    threads: 1
    resources:
        mem_mb=doubled_each_attempt(1000),
    localrule: True
    script:
        "../workflow_scripts/summarise_left_out.py"


rule measure_pruning_perplexity:
    input:
        model=f"{ASSETS}/models/{{model}}",
        facts=test_facts,
        edits=test_edits,
        corpus=f"{ASSETS}/corpora/{SETTINGS['corpora']['perplexity']}.parquet",
    output:
        perplexity=at_study("pruning_perplexity.parquet"),
    params:
        shares=STUDIES["pruning_shares"],
        tokens=SETTINGS["perplexity"]["tokens"],
        window=SETTINGS["perplexity"]["window"],
        edits=STUDIES["perplexity_edits"],
        device=setting("device"),
        dtype=setting("dtype"),
        code=code("measure_pruning_perplexity.py"),
    log:
        f"{RUN}/{{model}}/{{method}}/logs/measure_pruning_perplexity/seed{{seed}}.log",
    benchmark:
        f"{RUN}/{{model}}/{{method}}/benchmarks/measure_pruning_perplexity/seed{{seed}}.tsv"
    conda:
        "../envs/model.yaml"
    threads: 1
    resources:
        mem_mb=model_memory(500),
        runtime=doubled_each_attempt(240),
    script:
        "../workflow_scripts/measure_pruning_perplexity.py"


use rule summarise_perplexity as summarise_pruning_perplexity with:
    input:
        perplexity=at_study("pruning_perplexity.parquet"),
    output:
        measures=at_study("measures/pruning_perplexity.parquet"),
    log:
        f"{RUN}/{{model}}/{{method}}/logs/summarise_pruning_perplexity/seed{{seed}}.log",
    benchmark:
        f"{RUN}/{{model}}/{{method}}/benchmarks/summarise_pruning_perplexity/seed{{seed}}.tsv"


rule measure_transfer:
    input:
        model=f"{ASSETS}/models/{{model}}",
        facts=test_facts,
        edits=test_edits,
        training=sorted({f"{RUN}/facts/{train_split(trained)}.parquet" for trained in STUDIES["transfer"]}),
        masks=expand(f"{RUN}/{{{{model}}}}/{{trained}}/{MAIN}/seed{{{{seed}}}}/mask.safetensors", trained=STUDIES["transfer"]),
    output:
        reversal=at_study("transfer.parquet"),
    params:
        methods=STUDIES["transfer"],
        batch_tokens=SETTINGS["scoring_batch_tokens"],
        device=setting("device"),
        dtype=setting("dtype"),
        code=code("measure_transfer.py"),
    log:
        f"{RUN}/{{model}}/{{method}}/logs/measure_transfer/seed{{seed}}.log",
    benchmark:
        f"{RUN}/{{model}}/{{method}}/benchmarks/measure_transfer/seed{{seed}}.tsv"
    conda:
        "../envs/model.yaml"
    threads: 1
    resources:
        mem_mb=model_memory(1500),
        runtime=doubled_each_attempt(60),
    script:
        "../workflow_scripts/measure_transfer.py"


rule summarise_transfer:
    input:
        reversal=at_study("transfer.parquet"),
        masks=rules.measure_transfer.input.masks,
    output:
        measures=at_study("measures/transfer.parquet"),
    params:
        methods=STUDIES["transfer"],
        test_split=lambda wildcards: test_split(wildcards.method),
        code=code("summarise_transfer.py"),
    log:
        f"{RUN}/{{model}}/{{method}}/logs/summarise_transfer/seed{{seed}}.log",
    benchmark:
        f"{RUN}/{{model}}/{{method}}/benchmarks/summarise_transfer/seed{{seed}}.tsv"
    conda:
        "../envs/model.yaml"
    threads: 1
    resources:
        mem_mb=doubled_each_attempt(1000),
    localrule: True
    script:
        "../workflow_scripts/summarise_transfer.py"


rule measure_key_energy:
    input:
        model=f"{ASSETS}/models/{{model}}",
        facts=f"{RUN}/facts/train.parquet",
    output:
        energy=f"{RUN}/{{model}}/key_energy.parquet",
    params:
        device=setting("device"),
        dtype=setting("dtype"),
        code=code("measure_key_energy.py"),
    log:
        f"{RUN}/{{model}}/logs/measure_key_energy.log",
    benchmark:
        f"{RUN}/{{model}}/benchmarks/measure_key_energy.tsv"
    conda:
        "../envs/model.yaml"
    threads: 1
    resources:
        mem_mb=model_memory(),
        runtime=doubled_each_attempt(60),
    script:
        "../workflow_scripts/measure_key_energy.py"


rule summarise_layers:
    input:
        energy=f"{RUN}/{{model}}/key_energy.parquet",
        reversal=of_layers("reversal/test.parquet"),
    output:
        measures=at_study("measures/layers.parquet"),
    params:
        layers=STUDIES["layers"],
        methods=list(LAYER_METHODS.values()),
        mask=lambda wildcards: layer_mask(wildcards.model),
        code=code("summarise_layers.py"),
    log:
        f"{RUN}/{{model}}/{{method}}/logs/summarise_layers/seed{{seed}}.log",
    benchmark:
        f"{RUN}/{{model}}/{{method}}/benchmarks/summarise_layers/seed{{seed}}.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=doubled_each_attempt(800),
    localrule: True
    script:
        "../workflow_scripts/summarise_layers.py"
