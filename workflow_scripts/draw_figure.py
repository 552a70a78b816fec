"""Draw one figure, a row a model and method, as PDF and PNG; write its caption, and what it takes to draw it again."""

import importlib
import json

import job
from onemask.captions import figure_caption
from onemask.figures.compose import compose, save, versions
from onemask.files import read_table, write_text
from onemask.mechanism_measures import contributions

SCHEMAS = {
    "blocking": "measures",
    "reversal": "measures",
    "perplexity": "measures",
    "pruning": "measures",
    "studies": "measures",
    "kl": "reversal",
    "structure": "mask_structure",
    "training": "mask_training",
}
BY_LAYER = {"decomposition", "activations", "attention", "patching"}  # drawn with the edited layers marked


def of_row(row, kind, path, released):
    """A figure's arguments for one row from one of its files."""
    table = read_table(path, SCHEMAS.get(kind, kind))
    if kind == "reversal":
        table = table[table["split"].isin([row["split"], "all"])]
    if kind == "studies":
        table = table[(table["model"] == row["model"]) & (table["method"] == row["method"])]
        return {kind: table} if len(table) else {}
    return {kind: contributions(table, released) if kind == "decomposition" else table} | (
        {"layers": row["layers"]} if kind in BY_LAYER else {}
    )


def arguments(smk):
    """The figure's arguments by row, as "model, method"."""
    rows = {f"{row['label']}, {row['title']}": row for row in smk.params.rows}
    if "study" in smk.input.keys():
        table = read_table(smk.input.study, "measures").query("relation == 'all'")
        return {row["label"]: {"measures": table[table["model"] == row["model"]]} for row in rows.values()}
    found = {name: {} for name in rows}
    for kind, paths in smk.input.items():
        for (name, row), path in zip(rows.items(), paths, strict=True):
            found[name] |= of_row(row, kind, path, smk.params.as_released)
    return found


def record(smk):
    """What `main` needs to draw the figure again (an archive's verify.py calls it so), and with which libraries it was drawn."""
    params = {name: value for name, value in smk.params.items() if name != "code"}
    return {"input": dict(smk.input.items()), "params": params, "versions": versions()}


def main(smk):
    module = importlib.import_module(f"onemask.figures.{smk.params.name}")
    tables = arguments(smk)
    figure = compose(module.draw, tables, module.SIZE)
    save(figure, smk.output.pdf)
    save(figure, smk.output.png)
    released = smk.params.as_released and any("decomposition" in table for table in tables.values())
    splits = sorted({row["split"] for row in smk.params.rows})
    text = module.__doc__ + " Computed as in the released code (as_released)." * released
    write_text(smk.output.caption, figure_caption(smk.params.name, text, tables, splits, smk.params.seed))
    write_text(smk.output.record, json.dumps(record(smk), indent=1, sort_keys=True) + "\n")


job.run(globals(), main, torch_threads=False)
