# needs: test edits and their facts, a mask, a model, the perplexity corpus
# produces: {model}/{method}/shared/seed{seed}/{decomposition,activations,attention,patching,update_magnitude,collapse,pruning}.parquet,
#   measures/{mechanism,structure,collapse,pruning}.parquet


# looks into the model at the last prompt position, and what each is told beside the facts
LOOKS = {"decomposition": {"as_released": SETTINGS["as_released"]}, "activations": {}, "attention": {}, "patching": {}}


for way, options in LOOKS.items():

    rule:
        name:
            f"measure_{way}"
        input:
            model=f"{ASSETS}/models/{{model}}",
            facts=test_facts,
            edits=test_edits,
            mask=at_mask("mask.safetensors"),
        output:
            table=at_mask(f"{way}.parquet"),
        params:
            way=way,
            options=options,
            facts=SETTINGS["decomposition"]["facts"],
            batch_tokens=SETTINGS["scoring_batch_tokens"],
            device=setting("device"),
            dtype=setting("dtype"),
            code=code("measure_mechanism.py", f"measuring/mechanism/{way}.py"),
        log:
            f"{RUN}/{{model}}/{{method}}/logs/measure_{way}/seed{{seed}}.log",
        benchmark:
            f"{RUN}/{{model}}/{{method}}/benchmarks/measure_{way}/seed{{seed}}.tsv"
        conda:
            "../envs/model.yaml"
        threads: 1
        resources:
            mem_mb=model_memory(),
            runtime=doubled_each_attempt(60),
        script:
            "../workflow_scripts/measure_mechanism.py"


rule measure_update_magnitude:
    input:
        facts=test_facts,
        edits=test_edits,
        mask=at_mask("mask.safetensors"),
    output:
        magnitude=at_mask("update_magnitude.parquet"),
    params:
        code=code("measure_update_magnitude.py"),
    log:
        f"{RUN}/{{model}}/{{method}}/logs/measure_update_magnitude/seed{{seed}}.log",
    benchmark:
        f"{RUN}/{{model}}/{{method}}/benchmarks/measure_update_magnitude/seed{{seed}}.tsv"
    conda:
        "../envs/model.yaml"
    threads: 1
    resources:
        mem_mb=doubled_each_attempt(2000),
        runtime=doubled_each_attempt(60),
    script:
        "../workflow_scripts/measure_update_magnitude.py"


rule measure_collapse:
    input:
        model=f"{ASSETS}/models/{{model}}",
        corpus=f"{ASSETS}/corpora/{SETTINGS['corpora']['perplexity']}.parquet",
        edits=test_edits,
        mask=at_mask("mask.safetensors"),
    output:
        perplexity=at_mask("collapse.parquet"),
    params:
        tokens=SETTINGS["perplexity"]["tokens"],
        window=SETTINGS["perplexity"]["window"],
        worst=SETTINGS["perplexity"]["worst"],
        search_tokens=SETTINGS["perplexity"]["search_tokens"],
        device=setting("device"),
        dtype=setting("dtype"),
        code=code("measure_collapse.py"),
    log:
        f"{RUN}/{{model}}/{{method}}/logs/measure_collapse/seed{{seed}}.log",
    benchmark:
        f"{RUN}/{{model}}/{{method}}/benchmarks/measure_collapse/seed{{seed}}.tsv"
    conda:
        "../envs/model.yaml"
    threads: 1
    resources:
        mem_mb=model_memory(500),
        runtime=doubled_each_attempt(240),
    script:
        "../workflow_scripts/measure_collapse.py"


rule measure_pruning:
    input:
        model=f"{ASSETS}/models/{{model}}",
        facts=test_facts,
        edits=test_edits,
    output:
        reversal=f"{RUN}/{{model}}/{{method}}/pruning.parquet",
    params:
        shares=SETTINGS["pruning"]["shares"],
        facts=SETTINGS["pruning"]["facts"],
        batch_tokens=SETTINGS["scoring_batch_tokens"],
        device=setting("device"),
        dtype=setting("dtype"),
        code=code("measure_pruning.py"),
    log:
        f"{RUN}/{{model}}/{{method}}/logs/measure_pruning.log",
    benchmark:
        f"{RUN}/{{model}}/{{method}}/benchmarks/measure_pruning.tsv"
    conda:
        "../envs/model.yaml"
    threads: 1
    resources:
        mem_mb=model_memory(500),
        runtime=doubled_each_attempt(240),
    script:
        "../workflow_scripts/measure_pruning.py"


rule summarise_mechanism:
    input:
        decomposition=at_mask("decomposition.parquet"),
        attention=at_mask("attention.parquet"),
        patching=at_mask("patching.parquet"),
    output:
        measures=at_mask("measures/mechanism.parquet"),
    params:
        layers=lambda wildcards: edited_layers(wildcards.method, wildcards.model),
        as_released=SETTINGS["as_released"],
        test_split=lambda wildcards: test_split(wildcards.method),
        code=code("summarise_mechanism.py"),
    log:
        f"{RUN}/{{model}}/{{method}}/logs/summarise_mechanism/seed{{seed}}.log",
    benchmark:
        f"{RUN}/{{model}}/{{method}}/benchmarks/summarise_mechanism/seed{{seed}}.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=doubled_each_attempt(1000),
    localrule: True
    script:
        "../workflow_scripts/summarise_mechanism.py"


rule summarise_structure:
    input:
        structure=at_mask("mask_structure.parquet"),
        magnitude=at_mask("update_magnitude.parquet"),
    output:
        measures=at_mask("measures/structure.parquet"),
    params:
        layers=lambda wildcards: edited_layers(wildcards.method, wildcards.model),
        test_split=lambda wildcards: test_split(wildcards.method),
        code=code("summarise_structure.py"),
    log:
        f"{RUN}/{{model}}/{{method}}/logs/summarise_structure/seed{{seed}}.log",
    benchmark:
        f"{RUN}/{{model}}/{{method}}/benchmarks/summarise_structure/seed{{seed}}.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=doubled_each_attempt(800),
    localrule: True
    script:
        "../workflow_scripts/summarise_structure.py"


rule summarise_collapse:
    input:
        perplexity=at_mask("collapse.parquet"),
    output:
        measures=at_mask("measures/collapse.parquet"),
    params:
        test_split=lambda wildcards: test_split(wildcards.method),
        code=code("summarise_collapse.py"),
    log:
        f"{RUN}/{{model}}/{{method}}/logs/summarise_collapse/seed{{seed}}.log",
    benchmark:
        f"{RUN}/{{model}}/{{method}}/benchmarks/summarise_collapse/seed{{seed}}.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=doubled_each_attempt(800),
    localrule: True
    script:
        "../workflow_scripts/summarise_collapse.py"


rule summarise_pruning:
    input:
        reversal=f"{RUN}/{{model}}/{{method}}/pruning.parquet",
    output:
        measures=at_mask("measures/pruning.parquet"),
    params:
        test_split=lambda wildcards: test_split(wildcards.method),
        code=code("summarise_pruning.py"),
    log:
        f"{RUN}/{{model}}/{{method}}/logs/summarise_pruning/seed{{seed}}.log",
    benchmark:
        f"{RUN}/{{model}}/{{method}}/benchmarks/summarise_pruning/seed{{seed}}.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=doubled_each_attempt(800),
    localrule: True
    script:
        "../workflow_scripts/summarise_pruning.py"
