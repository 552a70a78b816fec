# needs: measures, decomposition, masks and training curves, for every model and method (first seed); tables of studies
# produces: figures/{name}.{pdf,png}, and {name}.json: what draws it again

ALONE_METHODS = [method for method in METHODS if not together(method)]
TOGETHER_METHODS = [method for method in METHODS if together(method)]
PRUNED_METHODS = [method for method in METHODS if has_pruning(method)]

REVERSAL = {"reversal": "measures/reversal.parquet", "perplexity": "measures/perplexity.parquet", "kl": "reversal/{test}.parquet"}

# methods that a figure shows, and what it is drawn from: files of a method's main mask
FIGURE_INPUTS = {
    "figure03": (ALONE_METHODS, {"decomposition": "decomposition.parquet"}),
    "figure04": (ALONE_METHODS, {"decomposition": "decomposition.parquet"}),
    "figure05": (METHODS, {"activations": "activations.parquet"}),
    "figure06": (ALONE_METHODS, {"blocking": "measures/blocking.parquet"}),
    "figure07": (ALONE_METHODS, REVERSAL),
    "figure08": (TOGETHER_METHODS, REVERSAL),
    "figure09": (TOGETHER_METHODS, {"decomposition": "decomposition.parquet"}),
    "figure10": (TOGETHER_METHODS, {"decomposition": "decomposition.parquet"}),
    "figure11": (METHODS, {"structure": "mask_structure.parquet"}),
    "figure12": (METHODS, {"structure": "mask_structure.parquet"}),
    "figure13": (METHODS, {"activations": "activations.parquet", "structure": "mask_structure.parquet"}),
    "figure14": (PRUNED_METHODS, {"pruning": "measures/pruning.parquet", "reversal": "measures/reversal.parquet"}),
    "attention": (METHODS, {"attention": "attention.parquet"}),
    "patching": (METHODS, {"patching": "patching.parquet"}),
    "mask_training": (METHODS, {"training": "mask_training.parquet"}),
}
FIGURE_INPUTS = {name: (methods, inputs) for name, (methods, inputs) in FIGURE_INPUTS.items() if methods}
STUDY_FIGURES = [name for name in ("mask_shares", "transfer", "layers", "training_size") if name in TABLE_INPUTS]
FIGURE_FILES = expand(f"{RUN}/figures/{{name}}.{{suffix}}", name=[*FIGURE_INPUTS, *STUDY_FIGURES], suffix=["pdf", "png", "json"])
# by what name each is drawn and logged, as a study has a table of the figure's own name
DRAWING = {name: name if name.startswith("figure") else f"draw_{name}" for name in [*FIGURE_INPUTS, *STUDY_FIGURES]}


if unknown := sorted(set(SETTINGS["figures"]) - set(DRAWING)):
    advice = f"Correct figures in the run's config; the run has {', '.join(sorted(DRAWING))}."
    raise WorkflowError(f"onemask: {OnemaskError('figures of this run', ', '.join(unknown), advice)}")


def rows_of(figure):
    """Model and method of each row of a figure, in order."""
    methods = FIGURE_INPUTS[figure][0] if figure in FIGURE_INPUTS else METHODS[:1]
    return [(model, method) for model in MODELS for method in methods]


def figure_inputs(figure):
    """Files behind a figure by kind: one a row, or the one table of a study."""
    if figure in STUDY_FIGURES:
        return {"study": f"{RUN}/tables/{figure}.parquet"}
    of_studies = f"{RUN}/tables/mask_shares.parquet"
    further = {"studies": [of_studies] * len(rows_of(figure))} if figure == "figure14" and "mask_shares" in TABLE_INPUTS else {}
    return further | {
        kind: [
            f"{RUN}/{model}/{method}/{MAIN}/seed{SEEDS[0]}/{path.format(test=test_split(method))}"
            for model, method in rows_of(figure)
        ]
        for kind, path in FIGURE_INPUTS[figure][1].items()
    }


for figure in DRAWING:

    rule:
        name:
            DRAWING[figure]
        input:
            **figure_inputs(figure),
        output:
            pdf=f"{RUN}/figures/{figure}.pdf",
            record=f"{RUN}/figures/{figure}.json",
            png=report(
                f"{RUN}/figures/{figure}.png",
                caption=str(Path(f"{RUN}/figures/{figure}.rst").absolute()),
                category="3 Figures of the paper" if figure.startswith("figure") else "4 Controls and studies",
                labels={
                    "result": (
                        figure.replace("figure", "Figure ")
                        if figure.startswith("figure")
                        else f"{figure.replace('_', ' ')} (figure)"
                    )
                },
            ),
        params:
            name=figure,
            rows=[
                {
                    "model": model,
                    "method": method,
                    "label": SETTINGS["model_settings"][model]["label"],
                    "title": METHOD_ENTRIES[method]["title"],
                    "split": test_split(method),
                    "layers": edited_layers(method, model),
                }
                for model, method in rows_of(figure)
            ],
            seed=SEEDS[0],
            as_released=SETTINGS["as_released"],
            style=SETTINGS["figures"].get(figure, {}),
            code=code("draw_figure.py", f"figures/{figure}.py"),
        log:
            f"{RUN}/logs/{DRAWING[figure]}.log",
        benchmark:
            f"{RUN}/benchmarks/{DRAWING[figure]}.tsv"
        conda:
            "../envs/figures.yaml"
        threads: 1
        resources:
            mem_mb=doubled_each_attempt(1000),
        localrule: True
        script:
            "../workflow_scripts/draw_figure.py"
