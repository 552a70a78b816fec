# What rules read: paths and input functions by method and wildcards; no rules.


def fact_sources(wildcards):
    if FACTS["splits"] == "released":
        return {}
    if FACTS["dataset"] == "counterfact":
        return {"records": f"{ASSETS}/counterfact.json"}
    return {name: str(ROOT / "config" / "datasets" / "embedded" / f"{name}.csv") for name in ("facts", "relations")}


def splits_measured(wildcards):
    """Splits on which a mask is measured: all on which the run's methods are, the test split in studies (and training, where
    the number of training edits is what differs)."""
    if wildcards.mask == MAIN and wildcards.method in METHODS:
        return splits_of(wildcards.method)
    both = [train_split(wildcards.method), test_split(wildcards.method)]
    return both if mask_plan(wildcards)["edits"] else both[1:]


def reversal_tables(wildcards, splits):
    return [
        f"{RUN}/{wildcards.model}/{wildcards.method}/{wildcards.mask}/seed{wildcards.seed}/reversal/{split}.parquet"
        for split in splits
    ]


def neighborhood_table(wildcards):
    """Input function: the scored neighbourhood prompts, where they are asked for and the mask has all controls."""
    wanted = SETTINGS["neighborhood_prompts"] and wildcards.mask == MAIN
    return [f"{RUN}/{wildcards.model}/{wildcards.method}/{MAIN}/seed{wildcards.seed}/neighborhood.parquet"] if wanted else []


def perplexity_edits(wildcards):
    return SETTINGS["perplexity"]["edits"] if wildcards.mask == MAIN else STUDIES["perplexity_edits"]


def blocking_tables(wildcards):
    at = f"{RUN}/{wildcards.model}/{wildcards.method}/{wildcards.mask}/seed{wildcards.seed}/blocking"
    return [f"{at}/{chunk}.parquet" for chunk in chunks_of(wildcards.method, "test")]


def at_mask(path):
    """A file of the main mask of a method."""
    return f"{RUN}/{{model}}/{{method}}/{MAIN}/seed{{seed}}/{path}"


def edited_layers(method, model):
    """Layers that a method edits in a model, the masked one last."""
    settings = editing_of(method, model)
    return settings.get("layers", [settings.get("layer")])


def has_collapse(method):
    """Is there a table 6 of the method?"""
    return bool(SETTINGS["perplexity"]["worst"]) and not together(method)


def has_pruning(method):
    """Is there a figure 14 of the method?"""
    return bool(SETTINGS["pruning"]["shares"]) and not together(method)


def of_job(paths):
    """Input function: `paths(method)`, of the job's model, method and seed."""
    return lambda wildcards: [path.format(**dict(wildcards.items())) for path in paths(wildcards.method)]


def blocked_chunks(method):
    """Chunks of the test edits that are made again under the mask."""
    return [] if together(method) else chunks_of(method, "test")


def common_mask_settings(model):
    """The mask settings that all methods share."""
    own = {key for settings in SETTINGS["mask_by_method"].values() for key in settings}
    return {key: value for key, value in SETTINGS["model_settings"][model]["mask"].items() if key not in own}


def at_study(path):
    return f"{RUN}/{{model}}/{{method}}/studies/seed{{seed}}/{path}"


def of_folds(path):
    """Input function: a file of every fold's mask."""
    return lambda wildcards: [
        f"{RUN}/{wildcards.model}/{wildcards.method}/fold{part}/seed{wildcards.seed}/{path}" for part in range(STUDIES["folds"])
    ]


def of_layers(path):
    """Input function: a file of the mask of every layer's method."""
    return lambda wildcards: [
        f"{RUN}/{wildcards.model}/{method}/{layer_mask(wildcards.model)}/seed{wildcards.seed}/{path}"
        for method in LAYER_METHODS.values()
    ]


def layer_mask(model):
    """Name of the mask that is trained in each layer."""
    return of_share(parametrisation(model), STUDIES["layers_share"])
