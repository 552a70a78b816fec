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
        csv=f"{RUN}/provenance.csv",
        config=f"{RUN}/config.yaml",
        caption=f"{RUN}/provenance.rst",
        html=report(
            f"{RUN}/provenance.html",
            caption=str(Path(f"{RUN}/provenance.rst").absolute()),
            category="5 Provenance",
            labels={"result": "provenance"},
        ),
    params:
        config=config,
        models={
            model: {key: settings[key] for key in ("label", "dtype", "editing", "mask")}
            for model, settings in SETTINGS["model_settings"].items()
        },
        code=code("make_provenance.py"),
    log:
        f"{RUN}/logs/provenance.log",
    benchmark:
        f"{RUN}/benchmarks/provenance.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=doubled_each_attempt(800),
    localrule: True
    script:
        "../workflow_scripts/make_provenance.py"
