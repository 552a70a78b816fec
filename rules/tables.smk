# needs: measures of the stages
# produces: tables/{name}.{parquet,csv,md,html}


FIRST, SEED = RUN.methods[0], RUN.mask_seeds[0]  # of the studies
SINGLE_METHODS, JOINT_METHODS = RUN.of_kind(joint=False), RUN.of_kind(joint=True)


def of_main(path, methods=RUN.methods):
    """A file of the main mask of every model and method, first seed."""
    return expand(f"<run>/{{model}}/{{method}}/{MAIN}/seed{SEED}/{path}", model=RUN.models, method=methods)


def of_masks(stage, methods, masks, seeds):
    """Measure files of a stage, for every model, method, mask and seed."""
    pattern = "<run>/{model}/{method}/{mask}/seed{seed}/measures/{stage}.parquet"
    return expand(pattern, model=RUN.models, method=methods, mask=masks, seed=seeds, stage=stage)


def of_studies(stage, methods):
    """Measure files of a study, for every model."""
    return expand(f"<run>/{{model}}/{{method}}/studies/seed{SEED}/measures/{stage}.parquet", model=RUN.models, method=methods)


def of_editing():
    """Measure files of editing, for every model, method and split."""
    pattern = "<run>/{model}/{method}/measures/editing/{split}.parquet"
    return [
        path
        for method in [*RUN.methods, *RUN.compare]
        for path in expand(pattern, model=RUN.models, method=method, split=RUN.splits_edited(method))
    ]


def trained_controls():
    """Measure files of the masks that are controls themselves."""
    found = of_masks("reversal", FIRST, "shuffled", SEED) if RUN.studies.shuffled else []
    return found + (of_studies("left_out", FIRST) if RUN.studies.folds else [])


def of_shares():
    """Measure files of masks of equal shares, and of pruning without training."""
    masks = [of_share(kind, share) for kind in RUN.studies.parametrisations for share in RUN.studies.shares]
    found = [path for stage in ("reversal", "perplexity") for path in of_masks(stage, FIRST, masks, SEED)]
    found += of_main("measures/pruning.parquet", [FIRST]) if RUN.has_pruning(FIRST) else []
    return found + (of_studies("pruning_perplexity", FIRST) if RUN.studies.pruning_shares else [])


MAIN_REVERSAL = of_masks("reversal", RUN.methods, MAIN, RUN.mask_seeds)
MAIN_PERPLEXITY = of_masks("perplexity", RUN.methods, MAIN, RUN.mask_seeds)
FIRST_REVERSAL = of_masks("reversal", FIRST, MAIN, SEED)
FIRST_PERPLEXITY = of_masks("perplexity", FIRST, MAIN, SEED)

TABLE_INPUTS = {
    "table1": MAIN_REVERSAL,
    "table2": MAIN_REVERSAL + MAIN_PERPLEXITY,
    "table3": MAIN_REVERSAL,
    "table4": expand("<run>/{model}/measures/facts.parquet", model=RUN.models),
    "table8": of_main("measures/structure.parquet"),
    "mask_structure": of_main("measures/structure.parquet"),
    "mechanism": of_main("measures/mechanism.parquet"),
    "heads": of_main("measures/mechanism.parquet"),
    "controls": MAIN_REVERSAL + MAIN_PERPLEXITY + trained_controls(),
    "editors": of_editing(),
}
if collapsing := [method for method in RUN.methods if RUN.has_collapse(method)]:
    TABLE_INPUTS["table6"] = of_main("measures/collapse.parquet", collapsing)
if pruned := [method for method in RUN.methods if RUN.has_pruning(method)]:
    TABLE_INPUTS["pruning"] = of_main("measures/pruning.parquet", pruned)
if SINGLE_METHODS:
    TABLE_INPUTS["blocking"] = of_masks("blocking", SINGLE_METHODS, MAIN, RUN.mask_seeds)
if "joint_train" in RUN.splits:
    TABLE_INPUTS["table5"] = TABLE_INPUTS["table4"]
if "ood" in RUN.splits and SINGLE_METHODS:
    TABLE_INPUTS["table7"] = MAIN_REVERSAL
if RUN.studies.parametrisations:
    TABLE_INPUTS["mask_shares"] = FIRST_REVERSAL + FIRST_PERPLEXITY + of_shares()
if RUN.studies.training_edits:
    sizes = [of_edits(count) for count in RUN.studies.training_edits]
    TABLE_INPUTS["training_size"] = of_masks("reversal", FIRST, [*sizes, MAIN], SEED)
if RUN.studies.transfer:
    TABLE_INPUTS["transfer"] = of_studies("transfer", RUN.studies.transfer)
if RUN.studies.layers:
    layer_masks = RUN.study_masks([RUN.studies.layers_share])
    TABLE_INPUTS["layers"] = (
        of_studies("layers", FIRST)
        + of_masks("reversal", RUN.layer_methods.values(), layer_masks, SEED)
        + of_masks("blocking", RUN.layer_methods.values(), layer_masks, SEED)
    )
if RUN.studies.blocking_shares:
    blocking_masks = [MAIN, *RUN.study_masks(RUN.studies.blocking_shares)]
    TABLE_INPUTS["blocking_shares"] = [
        path for stage in ("blocking", "reversal") for path in of_masks(stage, FIRST, blocking_masks, SEED)
    ]

OURS = [name for name in TABLE_INPUTS if not name.startswith("table")]
TABLE_FILES = expand("<run>/tables/{name}.{suffix}", name=TABLE_INPUTS, suffix=["parquet", "csv", "md", "html"])


for table in TABLE_INPUTS:

    rule:
        name:
            table
        input:
            measures=TABLE_INPUTS[table],
        output:
            parquet=f"<run>/tables/{table}.parquet",
            csv=f"<run>/tables/{table}.csv",
            md=f"<run>/tables/{table}.md",
            caption=f"<run>/tables/{table}.rst",
            html=report(
                f"<run>/tables/{table}.html",
                caption=str(Path(f"{RUN.folder}/tables/{table}.rst").absolute()),
                category="4 Controls and studies" if table in OURS else "2 Tables of the paper",
                labels={"result": f"{table.replace('_', ' ')} (table)" if table in OURS else table.replace("table", "Table ")},
            ),
        params:
            name=table,
            caption=CAPTIONS["tables"][table],
            as_released=RUN.as_released,
            code=code("make_table.py"),
        log:
            f"<run>/logs/{table}.log",
        benchmark:
            f"<run>/benchmarks/{table}.tsv"
        conda:
            "../envs/figures.yaml"
        threads: 1
        resources:
            mem_mb=doubled_each_attempt(800),
        localrule: True
        script:
            "../workflow_scripts/make_table.py"
