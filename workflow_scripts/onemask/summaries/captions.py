"""Captions: what is shown, of which model, method, split and how many facts."""

import pandas as pd

from onemask.summaries.measures import LABELS


def _cases(table: pd.DataFrame) -> str:
    return f"{table['case_id'].nunique()} test facts"


def _most(table: pd.DataFrame) -> str:
    return f"{int(table.loc[table['relation'] == 'all', 'n'].max())} test facts"


# how many facts stand behind one row of a figure, by what it is drawn from; the first that is there counts
SAMPLES = {
    "decomposition": _cases,
    "attention": _cases,
    "patching": _cases,
    "activations": lambda table: f"{int(table['facts'].max())} test facts",
    "kl": _cases,
    "blocking": _most,
    "pruning": lambda table: _most(table[table["metric"] == "rsr"]),
    "measures": lambda table: (
        f"{', '.join(sorted({name.upper() for name in table['method']}))}; "
        f"{int(table.loc[table['metric'] == 'rsr', 'n'].max())} facts at most"
    ),
    "training": lambda table: f"{len(table)} epochs over the training facts",
    "structure": lambda table: f"{len(table)} output dimensions; no facts enter",
}


def figure_samples(tables: dict[str, dict[str, object]]) -> dict[str, str]:
    """How many facts stand behind each row (model and method) of a figure, in words; tables: as the figure draws them."""
    return {row: next(SAMPLES[kind](parts[kind]) for kind in SAMPLES if kind in parts) for row, parts in tables.items()}


def figure_caption(name: str, text: str, samples: dict[str, str], splits: list[str], seed: int, released: bool = False) -> str:
    """Caption in reStructuredText: title, text, and the sample behind each row (model and method)."""
    title = name.replace("figure", "Figure ").replace("_", " ").replace("Figure 0", "Figure ")
    text = text.replace("*", r"\*") + " Computed as in the released code (as_released)." * released
    shown = "; ".join(f"{row}: {sample}" for row, sample in samples.items())
    return f"**{title[0].upper() + title[1:]}.** {text}\n\n{shown}. Split {', '.join(splits)}; mask seed {seed}.\n"


def table_caption(title: str, table: pd.DataFrame) -> str:
    """Caption in reStructuredText: title, models, methods, seeds, the number of facts by split, and masks that are no masks."""
    counted = table[(table["relation"] == "all") & ~table["metric"].isin(["pruned", "training_edits"])]
    # what is measured once, without an edit, has n = 1
    sizes = counted[counted["n"] > 1].groupby("split", sort=False)["n"].agg(["min", "max"])
    parts = [f"{row.Index}: n = {row.min}" + f" to {row.max}" * (row.min < row.max) for row in sizes.itertuples()]
    models, methods, seeds = (", ".join(filter(None, map(str, table[key].unique()))) for key in ("model", "method", "seed"))
    of_methods, of_splits = [f"method {methods.upper()}"] * bool(methods), [", ".join(parts)] * bool(parts)
    sample = "; ".join([f"Model {models}", *of_methods, f"seed {seeds}", *of_splits]) + "."
    spread = " Several seeds: mean ± standard deviation over them." if table["seed"].nunique() > 1 else ""
    brackets = "Brackets: 95% bootstrap intervals over facts, stratified by relation (perplexity: over edits)."
    return f"{title}. {sample} {brackets}{spread}{_degenerate(table)}\n"


def _mask(row) -> str:
    """A mask in words."""
    parts = (row.state, row.parametrisation, "" if pd.isna(row.share) else f"{row.share:g}", row.trained_on)
    return " ".join(filter(None, parts))


def _degenerate(table: pd.DataFrame) -> str:
    """A warning where a trained mask removes nothing or everything."""
    found = table[(table["metric"] == "pruned") & table["value"].isin([0.0, 1.0]) & (table["state"] != "layer_zeroed")]
    found = found.drop_duplicates(["model", "seed", "state", *LABELS])
    names = [f"{_mask(row)} of {row.model}, seed {row.seed} ({row.value:.0%})" for row in found.itertuples()]
    return f" **Warning: masks that prune nothing or everything: {'; '.join(names)}; choose another gamma.**" if names else ""
