# needs: edits, masks by name (onemask.masking.names), knowledge of the facts, a model
# produces: {model}/{method}/studies/seed{seed}/..., measures/{left_out,pruning,transfer,layers}.parquet beside it


rule summarise_left_out:
    input:
        reversal=lambda wildcards: of_folds(f"reversal/{RUN.test_split(wildcards.method)}.parquet"),
        masks=of_folds("mask.safetensors"),
    output:
        measures="<study>/measures/left_out.parquet",
    params:
        key=row_key,
        test_split=by_method(RUN.test_split),
        code=code("summarise_left_out.py"),
    log:
        "<method>/logs/summarise_left_out/seed{seed}.log",
    benchmark:
        "<method>/benchmarks/summarise_left_out/seed{seed}.tsv"
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
        model="<assets>/models/{model}",
        facts=test_facts,
        edits=test_edits,
        corpus=f"<assets>/corpora/{RUN.corpora.perplexity}.parquet",
    output:
        perplexity="<study>/pruning_perplexity.parquet",
    params:
        shares=RUN.studies.pruning_shares,
        tokens=RUN.perplexity.tokens,
        window=RUN.perplexity.window,
        edits=RUN.studies.perplexity_edits,
        device=of_model("device"),
        dtype=of_model("dtype"),
        code=code("measure_pruning_perplexity.py"),
    log:
        "<method>/logs/measure_pruning_perplexity/seed{seed}.log",
    benchmark:
        "<method>/benchmarks/measure_pruning_perplexity/seed{seed}.tsv"
    conda:
        "../envs/model.yaml"
    threads: 1
    resources:
        mem_mb=model_memory(500),
        runtime=doubled_each_attempt(240),
    script:
        "../workflow_scripts/measure_pruning_perplexity.py"


rule summarise_pruning_perplexity:
    input:
        perplexity="<study>/pruning_perplexity.parquet",
    output:
        measures="<study>/measures/pruning_perplexity.parquet",
    params:
        key=row_key,
        code=code("summarise_pruning_perplexity.py"),
    log:
        "<method>/logs/summarise_pruning_perplexity/seed{seed}.log",
    benchmark:
        "<method>/benchmarks/summarise_pruning_perplexity/seed{seed}.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=doubled_each_attempt(800),
    localrule: True
    script:
        "../workflow_scripts/summarise_pruning_perplexity.py"


rule measure_transfer:
    input:
        model="<assets>/models/{model}",
        facts=test_facts,
        edits=test_edits,
        training=sorted({f"<run>/facts/{RUN.train_split(trained)}.parquet" for trained in RUN.studies.transfer}),
        masks=expand(f"<run>/{{{{model}}}}/{{trained}}/{MAIN}/seed{{{{seed}}}}/mask.safetensors", trained=RUN.studies.transfer),
    output:
        reversal="<study>/transfer.parquet",
    params:
        methods=RUN.studies.transfer,
        batch_tokens=RUN.scoring_batch_tokens,
        device=of_model("device"),
        dtype=of_model("dtype"),
        code=code("measure_transfer.py"),
    log:
        "<method>/logs/measure_transfer/seed{seed}.log",
    benchmark:
        "<method>/benchmarks/measure_transfer/seed{seed}.tsv"
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
        reversal="<study>/transfer.parquet",
        masks=rules.measure_transfer.input.masks,
    output:
        measures="<study>/measures/transfer.parquet",
    params:
        key=row_key,
        methods=RUN.studies.transfer,
        test_split=by_method(RUN.test_split),
        code=code("summarise_transfer.py"),
    log:
        "<method>/logs/summarise_transfer/seed{seed}.log",
    benchmark:
        "<method>/benchmarks/summarise_transfer/seed{seed}.tsv"
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
        model="<assets>/models/{model}",
        facts="<run>/facts/train.parquet",
    output:
        energy="<model>/key_energy.parquet",
    params:
        device=of_model("device"),
        dtype=of_model("dtype"),
        code=code("measure_key_energy.py"),
    log:
        "<model>/logs/measure_key_energy.log",
    benchmark:
        "<model>/benchmarks/measure_key_energy.tsv"
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
        energy="<model>/key_energy.parquet",
        reversal=of_layers("reversal/test.parquet"),
    output:
        measures="<study>/measures/layers.parquet",
    params:
        key=row_key,
        layers=RUN.studies.layers,
        mask=lambda wildcards: RUN.masks[RUN.layer_mask(wildcards.model)].columns,
        code=code("summarise_layers.py"),
    log:
        "<method>/logs/summarise_layers/seed{seed}.log",
    benchmark:
        "<method>/benchmarks/summarise_layers/seed{seed}.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=doubled_each_attempt(800),
    localrule: True
    script:
        "../workflow_scripts/summarise_layers.py"
