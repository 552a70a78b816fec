# needs: edits, a mask, a model, the perplexity corpus
# produces: {model}/{method}/{mask}/seed{seed}/{reversal/{split},neighborhood,perplexity}.parquet,
#   measures/{reversal,perplexity}.parquet


rule measure_reversal:
    input:
        model="<assets>/models/{model}",
        facts="<run>/facts/{split}.parquet",
        edits=split_edits,
        mask="<mask>/mask.safetensors",
    output:
        reversal="<mask>/reversal/{split}.parquet",
    params:
        plan=mask_plan,
        states=mask_states,
        seed=RUN.seed,
        as_released=RUN.as_released,
        batch_tokens=RUN.scoring_batch_tokens,
        device=of_model("device"),
        dtype=of_model("dtype"),
        code=code("measure_reversal.py"),
    log:
        "<method>/logs/measure_reversal/{mask}/seed{seed}/{split}.log",
    benchmark:
        "<method>/benchmarks/measure_reversal/{mask}/seed{seed}/{split}.tsv"
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
        model="<assets>/models/{model}",
        corpus=f"<assets>/corpora/{RUN.corpora.perplexity}.parquet",
        edits=test_edits,
        mask="<mask>/mask.safetensors",
    output:
        perplexity="<mask>/perplexity.parquet",
    params:
        tokens=RUN.perplexity.tokens,
        window=RUN.perplexity.window,
        edits=lambda wildcards: RUN.perplexity_edits(wildcards.mask),
        states=mask_states,
        device=of_model("device"),
        dtype=of_model("dtype"),
        code=code("measure_perplexity.py"),
    log:
        "<method>/logs/measure_perplexity/{mask}/seed{seed}.log",
    benchmark:
        "<method>/benchmarks/measure_perplexity/{mask}/seed{seed}.tsv"
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
        model="<assets>/models/{model}",
        facts=test_facts,
        edits=test_edits,
        mask="<mask>/mask.safetensors",
    output:
        neighborhood="<mask>/neighborhood.parquet",
    params:
        prompts=RUN.neighborhood_prompts,
        states=mask_states,
        batch_tokens=RUN.scoring_batch_tokens,
        device=of_model("device"),
        dtype=of_model("dtype"),
        code=code("measure_neighborhood.py"),
    log:
        "<method>/logs/measure_neighborhood/{mask}/seed{seed}.log",
    benchmark:
        "<method>/benchmarks/measure_neighborhood/{mask}/seed{seed}.tsv"
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
        reversal=reversal_tables,
        neighborhood=neighborhood_table,
        mask="<mask>/mask.safetensors",
    output:
        measures="<mask>/measures/reversal.parquet",
    params:
        key=row_key,
        mask=mask_columns,
        state=lambda wildcards: RUN.masks[wildcards.mask].state,
        split_names=lambda wildcards: RUN.splits_measured(wildcards.method, wildcards.mask),
        test_split=by_method(RUN.test_split),
        code=code("summarise_reversal.py"),
    log:
        "<method>/logs/summarise_reversal/{mask}/seed{seed}.log",
    benchmark:
        "<method>/benchmarks/summarise_reversal/{mask}/seed{seed}.tsv"
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
        perplexity="<mask>/perplexity.parquet",
    output:
        measures="<mask>/measures/perplexity.parquet",
    params:
        key=row_key,
        mask=mask_columns,
        code=code("summarise_perplexity.py"),
    log:
        "<method>/logs/summarise_perplexity/{mask}/seed{seed}.log",
    benchmark:
        "<method>/benchmarks/summarise_perplexity/{mask}/seed{seed}.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=doubled_each_attempt(800),
    localrule: True
    script:
        "../workflow_scripts/summarise_perplexity.py"
