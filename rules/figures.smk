# needs: measures, decomposition, masks and training curves, for every model (first method and seed)
# produces: figures/{name}.{pdf,png}

FIGURE_INPUTS = {
    "figure03": {"decomposition": "decomposition.parquet", "mask": "mask.safetensors"},
    "figure04": {"decomposition": "decomposition.parquet", "mask": "mask.safetensors"},
    "figure06": {"blocking": "measures/blocking.parquet"},
    "figure07": {
        "reversal": "measures/reversal.parquet",
        "perplexity": "measures/perplexity.parquet",
        "kl": "reversal/test.parquet",
    },
    "figure11": {"mask": "mask.safetensors"},
    "figure12": {"structure": "mask_structure.parquet"},
    "mask_training": {"training": "mask_training.parquet"},
}
FIGURE_FILES = expand(f"{RUN}/figures/{{name}}.{{suffix}}", name=FIGURE_INPUTS, suffix=["pdf", "png"])


for figure in FIGURE_INPUTS:

    rule:
        name:
            figure
        input:
            **{
                kind: expand(f"{{at}}/{METHODS[0]}/seed{SEEDS[0]}/{path}", at=MODEL_FOLDERS)
                for kind, path in FIGURE_INPUTS[figure].items()
            },
        output:
            pdf=f"{RUN}/figures/{figure}.pdf",
            caption=f"{RUN}/figures/{figure}.rst",
            png=report(
                f"{RUN}/figures/{figure}.png",
                caption=str(Path(f"{RUN}/figures/{figure}.rst").absolute()),
                category="Figures",
                labels={"figure": figure},
            ),
        params:
            name=figure,
            labels=[SETTINGS["model_settings"][model]["label"] for model in MODELS],
            method=METHODS[0],
            seed=SEEDS[0],
            code=code("draw_figure.py", f"figures/{figure}.py"),
        log:
            f"{RUN}/logs/{figure}.log",
        benchmark:
            f"{RUN}/benchmarks/{figure}.tsv"
        conda:
            "../envs/figures.yaml"
        threads: 1
        resources:
            mem_mb=larger_each_attempt(1000),
        script:
            "../workflow_scripts/draw_figure.py"
