"""Captions: what is shown, of which model, method, split and how many facts."""

import re

import pandas as pd


def facts_shown(tables: dict[str, object]) -> str:
    """How many facts, and of which split, stand behind one model's part of a figure."""
    if "decomposition" in tables:
        return f"{tables['decomposition']['case_id'].nunique()} test facts"
    if "kl" in tables:
        return f"{tables['kl']['case_id'].nunique()} test facts"
    if "blocking" in tables:
        frame = tables["blocking"]
        return f"{int(frame.loc[frame['relation'] == 'all', 'n'].max())} test facts"
    if "measures" in tables:
        shown = tables["measures"]
        return f"{int(shown.loc[shown['metric'] == 'rsr', 'n'].max())} facts at most"
    if "training" in tables:
        return f"{len(tables['training'])} epochs over the training facts"
    if "structure" in tables:
        return f"{len(tables['structure'])} output dimensions; no facts enter"
    return "the mask itself; no facts enter"


def figure_caption(name: str, description: str, tables: dict[str, dict[str, object]], method: str, seed: int) -> str:
    """Caption in reStructuredText: title, the figure module's docstring, and the sample behind each model's part."""
    title = name.replace("figure", "Figure ").replace("_", " ").replace("Figure 0", "Figure ")
    samples = "; ".join(f"{model}: {facts_shown(parts)}" for model, parts in tables.items())
    text = re.sub(r"^Figure \d+: ", "", " ".join(description.split())).replace("*", r"\*")
    title, text = (words[0].upper() + words[1:] for words in (title, text))
    return f"**{title}.** {text}\n\nMethod {method.upper()}, mask seed {seed}. {samples}.\n"


def table_caption(title: str, table: pd.DataFrame) -> str:
    """Caption in reStructuredText: title, models, methods, seeds, the number of facts by split, and masks that are no masks."""
    counted = table[(table["relation"] == "all") & ~table["metric"].isin(["pruned", "training_edits"])]
    # what is measured once, without an edit, has n = 1
    sizes = counted[counted["n"] > 1].groupby("split", sort=False)["n"].agg(["min", "max"])
    parts = [f"{row.Index}: n = {row.min}" + f" to {row.max}" * (row.min < row.max) for row in sizes.itertuples()]
    models, methods, seeds = (", ".join(map(str, table[key].unique())) for key in ("model", "method", "seed"))
    sample = f"Model {models}; method {methods.upper()}; seed {seeds}; {', '.join(parts)}."
    spread = " Several seeds: mean ± standard deviation over them." if table["seed"].nunique() > 1 else ""
    brackets = "Brackets: 95% bootstrap intervals over facts, stratified by relation (perplexity: over edits)."
    return f"{title}. {sample} {brackets}{spread}{_degenerate(table)}\n"


def _degenerate(table: pd.DataFrame) -> str:
    """A warning where a trained mask removes nothing or everything."""
    found = table[(table["metric"] == "pruned") & table["value"].isin([0.0, 1.0]) & (table["mask"] != "layer_zeroed")]
    found = found.drop_duplicates(["model", "seed", "mask"])
    names = [f"{row.mask} of {row.model}, seed {row.seed} ({row.value:.0%})" for row in found.itertuples()]
    return f" **Warning: masks that prune nothing or everything: {'; '.join(names)}; choose another gamma.**" if names else ""
