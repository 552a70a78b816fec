# needs: the embedded fact set, CounterFact's JSON or the released split files
# produces: facts/{split}.parquet, {model}/knowledge.parquet, {model}/measures/facts.parquet


rule prepare_facts:
    input:
        unpack(fact_sources),
    output:
        facts=expand(f"{RUN}/facts/{{split}}.parquet", split=SPLITS),
    params:
        facts={key: value for key, value in FACTS.items() if key not in ("only_known", "sha256")},
        split_names=SPLITS,
        seed=SETTINGS["seed"],
        code=code("prepare_facts.py"),
    log:
        f"{RUN}/logs/prepare_facts.log",
    benchmark:
        f"{RUN}/benchmarks/prepare_facts.tsv"
    conda:
        "../envs/model.yaml"
    threads: 1
    resources:
        mem_mb=doubled_each_attempt(1000),
    localrule: True
    script:
        "../workflow_scripts/prepare_facts.py"


rule measure_knowledge:
    input:
        model=f"{ASSETS}/models/{{model}}",
        facts=expand(f"{RUN}/facts/{{split}}.parquet", split=SPLITS),
    output:
        knowledge=f"{RUN}/{{model}}/knowledge.parquet",
    params:
        split_names=SPLITS,
        batch_tokens=SETTINGS["scoring_batch_tokens"],
        device=setting("device"),
        dtype=setting("dtype"),
        code=code("measure_knowledge.py"),
    log:
        f"{RUN}/{{model}}/logs/measure_knowledge.log",
    benchmark:
        f"{RUN}/{{model}}/benchmarks/measure_knowledge.tsv"
    conda:
        "../envs/model.yaml"
    threads: 1
    resources:
        mem_mb=model_memory(),
        runtime=doubled_each_attempt(60),
    script:
        "../workflow_scripts/measure_knowledge.py"


rule summarise_facts:
    input:
        facts=expand(f"{RUN}/facts/{{split}}.parquet", split=SPLITS),
        knowledge=f"{RUN}/{{model}}/knowledge.parquet" if FACTS["only_known"] else [],
    output:
        measures=f"{RUN}/{{model}}/measures/facts.parquet",
    params:
        split_names=SPLITS,
        seed=SETTINGS["seed"],
        code=code("summarise_facts.py"),
    log:
        f"{RUN}/{{model}}/logs/summarise_facts.log",
    benchmark:
        f"{RUN}/{{model}}/benchmarks/summarise_facts.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=doubled_each_attempt(800),
    localrule: True
    script:
        "../workflow_scripts/summarise_facts.py"
