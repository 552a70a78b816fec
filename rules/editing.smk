# needs: facts, knowledge, templates, a model
# produces: {model}/{method}/edits/{split}/{relation}.parquet


rule edit_facts:
    input:
        model=f"{ASSETS}/models/{{model}}",
        facts=f"{RUN}/facts/{{split}}.parquet",
        knowledge=f"{RUN}/{{model}}/knowledge.parquet",
        templates=f"{RUN}/{{model}}/templates.parquet",
    output:
        edits=f"{RUN}/{{model}}/{{method}}/edits/{{split}}/{{relation}}.parquet",
    params:
        only_known=FACTS["only_known"],
        rome=setting("rome"),
        batch_tokens=SETTINGS["scoring_batch_tokens"],
        device=setting("device"),
        dtype=setting("dtype"),
        code=code("edit_facts.py"),
    log:
        f"{RUN}/{{model}}/{{method}}/logs/edit_facts/{{split}}/{{relation}}.log",
    benchmark:
        f"{RUN}/{{model}}/{{method}}/benchmarks/edit_facts/{{split}}/{{relation}}.tsv"
    conda:
        "../envs/model.yaml"
    threads: 1
    resources:
        mem_mb=larger_each_attempt(2500),
    script:
        "../workflow_scripts/edit_facts.py"
