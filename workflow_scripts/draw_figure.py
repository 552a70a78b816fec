"""Draw one figure, a row a model and method, as PDF and PNG; write what it takes to draw it again, and to say what it shows."""

import importlib
import json

import job
from onemask.figures.compose import compose, save, versions
from onemask.io.files import read_table, write_text
from onemask.summaries.captions import figure_samples
from onemask.summaries.mechanism import contributions

BY_LAYER = {"decomposition", "activations", "attention", "patching"}  # drawn with the edited layers marked


def of_row(row, kind, path, schema, released):
    """A figure's arguments for one row from one of its files."""
    table = read_table(path, schema)
    if kind == "reversal":
        table = table[table["split"].isin([row["split"], "all"])]
    if kind == "studies":
        table = table[(table["model"] == row["model"]) & (table["method"] == row["method"])]
        return {kind: table} if len(table) else {}
    return {kind: contributions(table, released) if kind == "decomposition" else table} | (
        {"layers": row["layers"]} if kind in BY_LAYER else {}
    )


def arguments(smk, schemas):
    """The figure's arguments by row, as "model, method"; schemas: of the tables that it is drawn from."""
    rows = {f"{row['label']}, {row['title']}": row for row in smk.params.rows}
    if "study" in smk.input.keys():
        table = read_table(smk.input.study, schemas["study"]).query("relation == 'all'")
        return {row["label"]: {"measures": table[table["model"] == row["model"]]} for row in rows.values()}
    by_row = {name: {} for name in rows}
    for kind, paths in smk.input.items():
        for (name, row), path in zip(rows.items(), paths, strict=True):
            by_row[name] |= of_row(row, kind, path, schemas[kind], smk.params.as_released)
    return by_row


def record(smk, tables):
    """What `main` needs to draw the figure again (as an archive's verify.py does), by which libraries, and of how many facts."""
    params = {name: value for name, value in smk.params.items() if name != "code"}
    return {"input": dict(smk.input.items()), "params": params, "versions": versions(), "samples": figure_samples(tables)}


def main(smk):
    module = importlib.import_module(f"onemask.figures.{smk.params.name}")
    tables = arguments(smk, module.TABLES)
    size, rc = smk.params.style.get("size", module.SIZE), smk.params.style.get("rc", {})
    figure = compose(module.draw, tables, size, rc)
    save(figure, smk.output.pdf, rc)
    save(figure, smk.output.png, rc)
    write_text(smk.output.record, json.dumps(record(smk, tables), indent=1) + "\n")


job.run(globals(), main, torch_threads=False)
