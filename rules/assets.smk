# needs: the package index, the hub, or local files (config/models, config/datasets)
# produces: results/assets/models/{model}/, results/assets/corpora/{corpus}.parquet, results/assets/counterfact.json


rule fetch_model:
    output:
        folder=directory("<assets>/models/{model}"),
    params:
        spec=source_of_model,
        code=code("fetch_model.py"),
    log:
        "<assets>/logs/fetch_model/{model}.log",
    benchmark:
        "<assets>/benchmarks/fetch_model/{model}.tsv"
    conda:
        "../envs/model.yaml"
    threads: 1
    resources:
        mem_mb=doubled_each_attempt(3000),
    localrule: True
    script:
        "../workflow_scripts/fetch_model.py"


rule fetch_corpus:
    output:
        corpus="<assets>/corpora/{corpus}.parquet",
    params:
        source=lambda wildcards: RUN.sources[wildcards.corpus],
        code=code("fetch_corpus.py"),
    log:
        "<assets>/logs/fetch_corpus/{corpus}.log",
    benchmark:
        "<assets>/benchmarks/fetch_corpus/{corpus}.tsv"
    conda:
        "../envs/model.yaml"
    threads: 1
    resources:
        mem_mb=doubled_each_attempt(1500),
    localrule: True
    script:
        "../workflow_scripts/fetch_corpus.py"


rule fetch_counterfact:
    output:
        records="<assets>/counterfact.json",
    params:
        path=RUN.facts.path,
        sha256=RUN.facts.sha256,
        code=code("fetch_counterfact.py"),
    log:
        "<assets>/logs/fetch_counterfact.log",
    benchmark:
        "<assets>/benchmarks/fetch_counterfact.tsv"
    conda:
        "../envs/model.yaml"
    threads: 1
    resources:
        mem_mb=doubled_each_attempt(1000),
    localrule: True
    script:
        "../workflow_scripts/fetch_counterfact.py"
