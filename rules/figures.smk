# needs: measures, decomposition, masks and training curves, for every model and method (first seed); tables of studies
# produces: figures/{name}.{pdf,png}, and {name}.json: what draws it again

PRUNED_METHODS = [method for method in RUN.methods if RUN.has_pruning(method)]

REVERSAL = {"reversal": "measures/reversal.parquet", "perplexity": "measures/perplexity.parquet", "kl": "reversal/{test}.parquet"}

# methods that a figure shows, and what it is drawn from: files of a method's main mask
FIGURE_INPUTS = {
    "figure03": (SINGLE_METHODS, {"decomposition": "decomposition.parquet"}),
    "figure04": (SINGLE_METHODS, {"decomposition": "decomposition.parquet"}),
    "figure05": (RUN.methods, {"activations": "activations.parquet"}),
    "figure06": (SINGLE_METHODS, {"blocking": "measures/blocking.parquet"}),
    "figure07": (SINGLE_METHODS, REVERSAL),
    "figure08": (JOINT_METHODS, REVERSAL),
    "figure09": (JOINT_METHODS, {"decomposition": "decomposition.parquet"}),
    "figure10": (JOINT_METHODS, {"decomposition": "decomposition.parquet"}),
    "figure11": (RUN.methods, {"structure": "mask_structure.parquet"}),
    "figure12": (RUN.methods, {"structure": "mask_structure.parquet"}),
    "figure13": (RUN.methods, {"activations": "activations.parquet", "structure": "mask_structure.parquet"}),
    "figure14": (PRUNED_METHODS, {"pruning": "measures/pruning.parquet", "reversal": "measures/reversal.parquet"}),
    "attention": (RUN.methods, {"attention": "attention.parquet"}),
    "patching": (RUN.methods, {"patching": "patching.parquet"}),
    "mask_training": (RUN.methods, {"training": "mask_training.parquet"}),
}
FIGURE_INPUTS = {name: (methods, inputs) for name, (methods, inputs) in FIGURE_INPUTS.items() if methods}
STUDY_FIGURES = [name for name in ("mask_shares", "transfer", "layers", "training_size") if name in TABLE_INPUTS]
FIGURE_FILES = expand("<run>/figures/{name}.{suffix}", name=[*FIGURE_INPUTS, *STUDY_FIGURES], suffix=["pdf", "png", "json"])
# by what name each is drawn and logged, as a study has a table of the figure's own name
DRAWING = {name: name if name.startswith("figure") else f"draw_{name}" for name in [*FIGURE_INPUTS, *STUDY_FIGURES]}


if unknown := sorted(set(RUN.figures) - set(DRAWING)):
    advice = f"Correct figures in the run's config; the run has {', '.join(sorted(DRAWING))}."
    raise WorkflowError(f"onemask: {OnemaskError('figures of this run', ', '.join(unknown), advice)}")


def rows_of(figure):
    """Model and method of each row of a figure, in order."""
    methods = FIGURE_INPUTS[figure][0] if figure in FIGURE_INPUTS else RUN.methods[:1]
    return [(model, method) for model in RUN.models for method in methods]


def figure_inputs(figure):
    """Files behind a figure by kind: one a row, or the one table of a study."""
    if figure in STUDY_FIGURES:
        return {"study": f"<run>/tables/{figure}.parquet"}
    of_studies = "<run>/tables/mask_shares.parquet"
    further = {"studies": [of_studies] * len(rows_of(figure))} if figure == "figure14" and "mask_shares" in TABLE_INPUTS else {}
    return further | {
        kind: [
            f"<run>/{model}/{method}/{MAIN}/seed{RUN.mask_seeds[0]}/{path.format(test=RUN.test_split(method))}"
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
            pdf=f"<run>/figures/{figure}.pdf",
            record=f"<run>/figures/{figure}.json",
            png=report(
                f"<run>/figures/{figure}.png",
                caption=str(Path(f"{RUN.folder}/figures/{figure}.rst").absolute()),
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
                    "label": RUN.models[model].label,
                    "title": RUN.editor_of(method).title,
                    "split": RUN.test_split(method),
                    "layers": RUN.edited_layers(method, model),
                }
                for model, method in rows_of(figure)
            ],
            seed=RUN.mask_seeds[0],
            as_released=RUN.as_released,
            style=RUN.figures.get(figure, {}),
            code=code("draw_figure.py", f"figures/{figure}.py"),
        log:
            f"<run>/logs/{DRAWING[figure]}.log",
        benchmark:
            f"<run>/benchmarks/{DRAWING[figure]}.tsv"
        conda:
            "../envs/figures.yaml"
        threads: 1
        resources:
            mem_mb=doubled_each_attempt(1000),
        localrule: True
        script:
            "../workflow_scripts/draw_figure.py"
