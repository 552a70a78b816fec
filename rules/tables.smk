# needs: measures of the stages
# produces: tables/{name}.{parquet,csv,md,html}


def of_main(path, methods=METHODS):
    """A file of the main mask of every model and method, first seed."""
    return expand(f"{{at}}/{{method}}/{MAIN}/seed{SEEDS[0]}/{path}", at=MODEL_FOLDERS, method=methods)


def of_masks(stage, methods, masks, seeds):
    """Measure files of a stage, for every model, method, mask and seed."""
    pattern = "{at}/{method}/{mask}/seed{seed}/measures/{stage}.parquet"
    return expand(pattern, at=MODEL_FOLDERS, method=methods, mask=masks, seed=seeds, stage=stage)


def of_studies(stage, methods):
    """Measure files of a study, for every model."""
    return expand(
        "{at}/{method}/studies/seed{seed}/measures/{stage}.parquet", at=MODEL_FOLDERS, method=methods, seed=SEEDS[0], stage=stage
    )


def of_editing():
    """Measure files of editing, for every model, method and split."""
    pattern = "{at}/{method}/measures/editing/{split}.parquet"
    return [
        path
        for method in [*METHODS, *COMPARED]
        for path in expand(pattern, at=MODEL_FOLDERS, method=method, split=splits_edited(method))
    ]


def trained_controls():
    """Measure files of the masks that are controls themselves."""
    found = of_masks("reversal", METHODS[0], "shuffled", SEEDS[0]) if STUDIES["shuffled"] else []
    return found + (of_studies("left_out", METHODS[0]) if STUDIES["folds"] else [])


def of_shares():
    """Measure files of masks of equal shares, and of pruning without training."""
    masks = [of_share(kind, share) for kind in STUDIES["parametrisations"] for share in STUDIES["shares"]]
    found = [path for stage in ("reversal", "perplexity") for path in of_masks(stage, METHODS[0], masks, SEEDS[0])]
    found += of_main("measures/pruning.parquet", METHODS[:1]) if has_pruning(METHODS[0]) else []
    return found + (of_studies("pruning_perplexity", METHODS[0]) if STUDIES["pruning_shares"] else [])


MAIN_REVERSAL = of_masks("reversal", METHODS, MAIN, SEEDS)
MAIN_PERPLEXITY = of_masks("perplexity", METHODS, MAIN, SEEDS)
FIRST_REVERSAL = of_masks("reversal", METHODS[0], MAIN, SEEDS[0])
FIRST_PERPLEXITY = of_masks("perplexity", METHODS[0], MAIN, SEEDS[0])
BLOCKED_METHODS = [method for method in METHODS if not together(method)]

TABLE_INPUTS = {
    "table1": MAIN_REVERSAL,
    "table2": MAIN_REVERSAL + MAIN_PERPLEXITY,
    "table3": MAIN_REVERSAL,
    "table4": expand("{at}/measures/facts.parquet", at=MODEL_FOLDERS),
    "table8": of_main("measures/structure.parquet"),
    "mask_structure": of_main("measures/structure.parquet"),
    "mechanism": of_main("measures/mechanism.parquet"),
    "heads": of_main("measures/mechanism.parquet"),
    "controls": MAIN_REVERSAL + MAIN_PERPLEXITY + trained_controls(),
    "editors": of_editing(),
}
if collapsing := [method for method in METHODS if has_collapse(method)]:
    TABLE_INPUTS["table6"] = of_main("measures/collapse.parquet", collapsing)
if pruned := [method for method in METHODS if has_pruning(method)]:
    TABLE_INPUTS["pruning"] = of_main("measures/pruning.parquet", pruned)
if BLOCKED_METHODS:
    TABLE_INPUTS["blocking"] = of_masks("blocking", BLOCKED_METHODS, MAIN, SEEDS)
if "memit_train" in SPLITS:
    TABLE_INPUTS["table5"] = TABLE_INPUTS["table4"]
if "ood" in SPLITS and any(not together(method) for method in METHODS):
    TABLE_INPUTS["table7"] = MAIN_REVERSAL
if STUDIES["parametrisations"]:
    TABLE_INPUTS["mask_shares"] = FIRST_REVERSAL + FIRST_PERPLEXITY + of_shares()
if STUDIES["training_edits"]:
    sizes = [f"edits{count}" for count in STUDIES["training_edits"]]
    TABLE_INPUTS["training_size"] = of_masks("reversal", METHODS[0], [*sizes, MAIN], SEEDS[0])
if STUDIES["transfer"]:
    TABLE_INPUTS["transfer"] = of_studies("transfer", STUDIES["transfer"])
if STUDIES["layers"]:
    TABLE_INPUTS["layers"] = (
        of_studies("layers", METHODS[0])
        + of_masks("reversal", LAYER_METHODS.values(), LAYER_MASKS, SEEDS[0])
        + of_masks("blocking", LAYER_METHODS.values(), LAYER_MASKS, SEEDS[0])
    )
if STUDIES["blocking_shares"]:
    TABLE_INPUTS["blocking_shares"] = of_masks(
        "blocking", METHODS[0], [MAIN, *study_masks(STUDIES["blocking_shares"])], SEEDS[0]
    ) + of_masks("reversal", METHODS[0], [MAIN, *study_masks(STUDIES["blocking_shares"])], SEEDS[0])

OURS = [name for name in TABLE_INPUTS if not name.startswith("table")]
TABLE_FILES = expand(f"{RUN}/tables/{{name}}.{{suffix}}", name=TABLE_INPUTS, suffix=["parquet", "csv", "md", "html"])


for table in TABLE_INPUTS:

    rule:
        name:
            table
        input:
            measures=TABLE_INPUTS[table],
        output:
            parquet=f"{RUN}/tables/{table}.parquet",
            csv=f"{RUN}/tables/{table}.csv",
            md=f"{RUN}/tables/{table}.md",
            caption=f"{RUN}/tables/{table}.rst",
            html=report(
                f"{RUN}/tables/{table}.html",
                caption=str(Path(f"{RUN}/tables/{table}.rst").absolute()),
                category="4 Controls and studies" if table in OURS else "2 Tables of the paper",
                labels={"result": f"{table.replace('_', ' ')} (table)" if table in OURS else table.replace("table", "Table ")},
            ),
        params:
            name=table,
            as_released=SETTINGS["as_released"],
            code=code("make_table.py"),
        log:
            f"{RUN}/logs/{table}.log",
        benchmark:
            f"{RUN}/benchmarks/{table}.tsv"
        conda:
            "../envs/figures.yaml"
        threads: 1
        resources:
            mem_mb=doubled_each_attempt(800),
        localrule: True
        script:
            "../workflow_scripts/make_table.py"
