# needs: test edits and their facts, a mask, a model, the perplexity corpus
# produces: {model}/{method}/shared/seed{seed}/{decomposition,activations,attention,patching,update_magnitude,collapse,pruning}.parquet,
#   measures/{mechanism,structure,collapse,pruning}.parquet


# looks into the model at the last prompt position, and what each is told beside the facts
LOOKS = {"decomposition": {"as_released": RUN.as_released}, "activations": {}, "attention": {}, "patching": {}}


for way, options in LOOKS.items():

    rule:
        name:
            f"measure_{way}"
        input:
            model="<assets>/models/{model}",
            facts=test_facts,
            edits=test_edits,
            mask="<main>/mask.safetensors",
        output:
            table=f"<main>/{way}.parquet",
        params:
            way=way,
            options=options,
            facts=RUN.decomposition.facts,
            batch_tokens=RUN.scoring_batch_tokens,
            device=of_model("device"),
            dtype=of_model("dtype"),
            code=code("measure_mechanism.py", f"measuring/mechanism/{way}.py"),
        log:
            f"<method>/logs/measure_{way}/seed{{seed}}.log",
        benchmark:
            f"<method>/benchmarks/measure_{way}/seed{{seed}}.tsv"
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
        mask="<main>/mask.safetensors",
    output:
        magnitude="<main>/update_magnitude.parquet",
    params:
        code=code("measure_update_magnitude.py"),
    log:
        "<method>/logs/measure_update_magnitude/seed{seed}.log",
    benchmark:
        "<method>/benchmarks/measure_update_magnitude/seed{seed}.tsv"
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
        model="<assets>/models/{model}",
        corpus=f"<assets>/corpora/{RUN.corpora.perplexity}.parquet",
        edits=test_edits,
        mask="<main>/mask.safetensors",
    output:
        perplexity="<main>/collapse.parquet",
    params:
        tokens=RUN.perplexity.tokens,
        window=RUN.perplexity.window,
        worst=RUN.perplexity.worst,
        search_tokens=RUN.perplexity.search_tokens,
        device=of_model("device"),
        dtype=of_model("dtype"),
        code=code("measure_collapse.py"),
    log:
        "<method>/logs/measure_collapse/seed{seed}.log",
    benchmark:
        "<method>/benchmarks/measure_collapse/seed{seed}.tsv"
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
        model="<assets>/models/{model}",
        facts=test_facts,
        edits=test_edits,
    output:
        reversal="<method>/pruning.parquet",
    params:
        shares=RUN.pruning.shares,
        facts=RUN.pruning.facts,
        batch_tokens=RUN.scoring_batch_tokens,
        device=of_model("device"),
        dtype=of_model("dtype"),
        code=code("measure_pruning.py"),
    log:
        "<method>/logs/measure_pruning.log",
    benchmark:
        "<method>/benchmarks/measure_pruning.tsv"
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
        decomposition="<main>/decomposition.parquet",
        attention="<main>/attention.parquet",
        patching="<main>/patching.parquet",
    output:
        measures="<main>/measures/mechanism.parquet",
    params:
        key=row_key,
        layers=by_method_and_model(RUN.edited_layers),
        as_released=RUN.as_released,
        test_split=by_method(RUN.test_split),
        code=code("summarise_mechanism.py"),
    log:
        "<method>/logs/summarise_mechanism/seed{seed}.log",
    benchmark:
        "<method>/benchmarks/summarise_mechanism/seed{seed}.tsv"
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
        structure="<main>/mask_structure.parquet",
        magnitude="<main>/update_magnitude.parquet",
    output:
        measures="<main>/measures/structure.parquet",
    params:
        key=row_key,
        layers=by_method_and_model(RUN.edited_layers),
        test_split=by_method(RUN.test_split),
        code=code("summarise_structure.py"),
    log:
        "<method>/logs/summarise_structure/seed{seed}.log",
    benchmark:
        "<method>/benchmarks/summarise_structure/seed{seed}.tsv"
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
        perplexity="<main>/collapse.parquet",
    output:
        measures="<main>/measures/collapse.parquet",
    params:
        key=row_key,
        test_split=by_method(RUN.test_split),
        code=code("summarise_collapse.py"),
    log:
        "<method>/logs/summarise_collapse/seed{seed}.log",
    benchmark:
        "<method>/benchmarks/summarise_collapse/seed{seed}.tsv"
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
        reversal="<method>/pruning.parquet",
    output:
        measures="<main>/measures/pruning.parquet",
    params:
        key=row_key,
        test_split=by_method(RUN.test_split),
        code=code("summarise_pruning.py"),
    log:
        "<method>/logs/summarise_pruning/seed{seed}.log",
    benchmark:
        "<method>/benchmarks/summarise_pruning/seed{seed}.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=doubled_each_attempt(800),
    localrule: True
    script:
        "../workflow_scripts/summarise_pruning.py"
