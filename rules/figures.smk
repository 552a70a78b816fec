# needs: measures, decomposition, masks and training curves, for every model (first method and seed); tables of studies
# produces: figures/{name}.{pdf,png}

FIGURE_INPUTS = {
    "figure03": {"decomposition": "decomposition.parquet", "mask": "mask.safetensors"},
    "figure04": {"decomposition": "decomposition.parquet", "mask": "mask.safetensors"},
    "figure06": {"blocking": "measures/blocking.parquet"},
    "figure07": {
        "reversal": "measures/reversal.parquet",
        "perplexity": "measures/perplexity.parquet",
        "kl": f"reversal/{test_split(METHODS[0])}.parquet",
    },
    "figure11": {"mask": "mask.safetensors"},
    "figure12": {"structure": "mask_structure.parquet"},
    "mask_training": {"training": "mask_training.parquet"},
}
if together(METHODS[0]):
    del FIGURE_INPUTS["figure06"]
STUDY_FIGURES = [name for name in ("mask_shares", "transfer", "layers", "training_size") if name in TABLE_INPUTS]
FIGURE_FILES = expand(f"{RUN}/figures/{{name}}.{{suffix}}", name=[*FIGURE_INPUTS, *STUDY_FIGURES], suffix=["pdf", "png"])


def figure_inputs(name):
    """Files behind a figure by kind: one a model, or the one table of a study."""
    if name in STUDY_FIGURES:
        return {"study": f"{RUN}/tables/{name}.parquet"}
    return {
        kind: expand(f"{{at}}/{METHODS[0]}/{MAIN}/seed{SEEDS[0]}/{path}", at=MODEL_FOLDERS)
        for kind, path in FIGURE_INPUTS[name].items()
    }


for figure in [*FIGURE_INPUTS, *STUDY_FIGURES]:

    rule:
        name:
            f"draw_{figure}" if figure in STUDY_FIGURES else figure
        input:
            **figure_inputs(figure),
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
            models=MODELS,
            labels=[SETTINGS["model_settings"][model]["label"] for model in MODELS],
            method=METHODS[0],
            test_split=test_split(METHODS[0]),
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
