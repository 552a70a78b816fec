# needs: the tables that measures are made of, and those for readers
# produces: provenance.{csv,html}; config.yaml, the run's whole configuration in one file


rule provenance:
    input:
        tables=[
            *(path for path in TABLE_FILES if path.endswith(".parquet")),
            *of_main("decomposition.parquet"),
            *of_main("mask_training.parquet"),
            *of_main("claims.parquet"),
        ],
    output:
        csv="<run>/provenance.csv",
        config="<run>/config.yaml",
        caption="<run>/provenance.rst",
        html=report(
            "<run>/provenance.html",
            caption=str(Path(f"{RUN.folder}/provenance.rst").absolute()),
            category="5 Provenance",
            labels={"result": "provenance"},
        ),
    params:
        config=config,
        models={
            model: {key: settings[key] for key in ("label", "dtype", "editing", "mask")}
            for model, settings in dataclasses.asdict(RUN)["models"].items()
        },
        code=code("make_provenance.py"),
    log:
        "<run>/logs/provenance.log",
    benchmark:
        "<run>/benchmarks/provenance.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=doubled_each_attempt(800),
    localrule: True
    script:
        "../workflow_scripts/make_provenance.py"
