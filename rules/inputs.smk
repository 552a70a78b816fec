# Input functions, which answer by a job's wildcards; no rules.


def fact_sources(wildcards):
    """What the splits are taken from, where it is not a folder of released ones."""
    if RUN.facts.splits == "released":
        return {}
    if RUN.facts.dataset == "counterfact":
        return {"records": "<assets>/counterfact.json"}
    return {name: from_here("config", "datasets", "embedded", f"{name}.csv") for name in ("facts", "relations")}


def moments(wildcards):
    """The file of the second moments that the job's method needs, measured in one pass; none where it needs none."""
    layers = RUN.moment_layers(wildcards.method, wildcards.model)
    return [f"<model>/second_moments/{moments_file(layers)}"] if layers else []


def edits_of(wildcards, split):
    return [f"<method>/edits/{split}/{chunk}.parquet" for chunk in RUN.chunks(wildcards.method, split)]


def split_edits(wildcards):
    """All edits of the job's split."""
    return edits_of(wildcards, wildcards.split)


def train_edits(wildcards):
    """The training edits of the job's method."""
    return edits_of(wildcards, RUN.train_split(wildcards.method))


def test_edits(wildcards):
    """The test edits of the job's method."""
    return edits_of(wildcards, RUN.test_split(wildcards.method))


def train_facts(wildcards):
    """The training facts of the job's method."""
    return f"<run>/facts/{RUN.train_split(wildcards.method)}.parquet"


def test_facts(wildcards):
    """The test facts of the job's method."""
    return f"<run>/facts/{RUN.test_split(wildcards.method)}.parquet"


def reversal_tables(wildcards):
    """What a mask's reversal is summarised from."""
    return [f"<mask>/reversal/{split}.parquet" for split in RUN.splits_measured(wildcards.method, wildcards.mask)]


def neighborhood_table(wildcards):
    """The scored neighbourhood prompts, where they are asked for and the mask has all controls."""
    return ["<main>/neighborhood.parquet"] if RUN.neighborhood_prompts and wildcards.mask == MAIN else []


def blocking_tables(wildcards, at="<mask>"):
    """The test facts that are edited again under a mask; at: its folder."""
    return [f"{at}/blocking/{chunk}.parquet" for chunk in RUN.chunks(wildcards.method, "test")]


def of_folds(path):
    """A file of every fold's mask."""
    return [f"<method>/{of_fold(part)}/seed{{seed}}/{path}" for part in range(RUN.studies.folds)]


def of_layers(path):
    """An input function: a file of the mask of every layer's method."""
    return lambda wildcards: [
        f"<model>/{method}/{RUN.layer_mask(wildcards.model)}/seed{{seed}}/{path}" for method in RUN.layer_methods.values()
    ]
