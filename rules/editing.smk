# needs: facts, knowledge, templates, second moments, a model
# produces: {model}/{method}/edits/{split}/{chunk}.parquet, measures/editing/{split}.parquet


rule edit_facts:
    input:
        model="<assets>/models/{model}",
        facts="<run>/facts/{split}.parquet",
        knowledge="<model>/knowledge.parquet",
        templates="<model>/templates.parquet",
        moments=moments,
    output:
        edits="<method>/edits/{split}/{chunk}.parquet",
    params:
        relations=lambda wildcards: RUN.chunks(wildcards.method, wildcards.split)[wildcards.chunk],
        only_known=RUN.facts.only_known,
        only_stable=RUN.facts.only_stable,
        skip_bad=RUN.facts.skip_bad,
        per_relation=lambda wildcards: RUN.facts_limit(wildcards.method, wildcards.split),
        settings=by_method_and_model(RUN.editing_of),
        layers=by_method_and_model(RUN.moment_layers),
        method=by_method(RUN.base),
        joint=by_method(RUN.joint),
        editor=RUN.editor,
        easyeditor=RUN.easyeditor,
        batch_tokens=RUN.scoring_batch_tokens,
        device=of_model("device"),
        dtype=of_model("dtype"),
        code=lambda wildcards: code("edit_facts.py", *editor_modules(wildcards.method)),
    log:
        "<method>/logs/edit_facts/{split}/{chunk}.log",
    benchmark:
        "<method>/benchmarks/edit_facts/{split}/{chunk}.tsv"
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
        edits=split_edits,
    output:
        measures="<method>/measures/editing/{split}.parquet",
    params:
        key=row_key,
        seed=RUN.seed,
        code=code("summarise_editing.py"),
    log:
        "<method>/logs/summarise_editing/{split}.log",
    benchmark:
        "<method>/benchmarks/summarise_editing/{split}.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=doubled_each_attempt(800),
    localrule: True
    script:
        "../workflow_scripts/summarise_editing.py"
