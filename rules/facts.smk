# needs: the embedded fact set, CounterFact's JSON or the released split files
# produces: facts/{split}.parquet, {model}/knowledge.parquet, {model}/measures/facts.parquet


rule prepare_facts:
    input:
        unpack(fact_sources),
    output:
        facts=expand("<run>/facts/{split}.parquet", split=RUN.splits),
    params:
        facts={
            key: value
            for key, value in dataclasses.asdict(RUN.facts).items()
            if key not in ("only_known", "only_stable", "sha256")
        },
        split_names=RUN.splits,
        seed=RUN.seed,
        code=code("prepare_facts.py"),
    log:
        "<run>/logs/prepare_facts.log",
    benchmark:
        "<run>/benchmarks/prepare_facts.tsv"
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
        model="<assets>/models/{model}",
        facts=expand("<run>/facts/{split}.parquet", split=RUN.splits),
    output:
        knowledge="<model>/knowledge.parquet",
    params:
        split_names=RUN.splits,
        skip_bad=RUN.facts.skip_bad,
        batch_tokens=RUN.scoring_batch_tokens,
        device=of_model("device"),
        dtype=of_model("dtype"),
        code=code("measure_knowledge.py"),
    log:
        "<model>/logs/measure_knowledge.log",
    benchmark:
        "<model>/benchmarks/measure_knowledge.tsv"
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
        facts=expand("<run>/facts/{split}.parquet", split=RUN.splits),
        knowledge="<model>/knowledge.parquet" if RUN.facts.only_known else [],
    output:
        measures="<model>/measures/facts.parquet",
    params:
        split_names=RUN.splits,
        seed=RUN.seed,
        code=code("summarise_facts.py"),
    log:
        "<model>/logs/summarise_facts.log",
    benchmark:
        "<model>/benchmarks/summarise_facts.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=doubled_each_attempt(800),
    localrule: True
    script:
        "../workflow_scripts/summarise_facts.py"
