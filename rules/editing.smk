# needs: facts, knowledge, templates, second moments, a model
# produces: {model}/{method}/edits/{split}/{chunk}.parquet, measures/editing/{split}.parquet


rule edit_facts:
    input:
        model=f"{ASSETS}/models/{{model}}",
        facts=f"{RUN}/facts/{{split}}.parquet",
        knowledge=f"{RUN}/{{model}}/knowledge.parquet",
        templates=f"{RUN}/{{model}}/templates.parquet",
        moments=moments,
    output:
        edits=f"{RUN}/{{model}}/{{method}}/edits/{{split}}/{{chunk}}.parquet",
    params:
        relations=lambda wildcards: relations_of(wildcards.split) if wildcards.chunk == "all" else [wildcards.chunk],
        only_known=FACTS["only_known"],
        per_relation=facts_limit,
        settings=editing,
        layers=moment_layers,
        method=lambda wildcards: base(wildcards.method),
        together=lambda wildcards: together(wildcards.method),
        editor=SETTINGS["editor"],
        easyeditor=SETTINGS["easyeditor"],
        batch_tokens=SETTINGS["scoring_batch_tokens"],
        device=setting("device"),
        dtype=setting("dtype"),
        code=lambda wildcards: code("edit_facts.py", *editor_modules(base(wildcards.method))),
    log:
        f"{RUN}/{{model}}/{{method}}/logs/edit_facts/{{split}}/{{chunk}}.log",
    benchmark:
        f"{RUN}/{{model}}/{{method}}/benchmarks/edit_facts/{{split}}/{{chunk}}.tsv"
    conda:
        EDITING_ENVIRONMENT
    threads: 1
    resources:
        mem_mb=model_memory(),
        runtime=doubled_each_attempt(120),
    script:
        "../workflow_scripts/edit_facts.py"


rule summarise_editing:
    input:
        edits=edit_chunks(None),
    output:
        measures=f"{RUN}/{{model}}/{{method}}/measures/editing/{{split}}.parquet",
    params:
        seed=SETTINGS["seed"],
        code=code("summarise_editing.py"),
    log:
        f"{RUN}/{{model}}/{{method}}/logs/summarise_editing/{{split}}.log",
    benchmark:
        f"{RUN}/{{model}}/{{method}}/benchmarks/summarise_editing/{{split}}.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=doubled_each_attempt(800),
    localrule: True
    script:
        "../workflow_scripts/summarise_editing.py"
