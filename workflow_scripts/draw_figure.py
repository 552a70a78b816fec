"""Draw one figure, a row a model, as PDF and PNG, and write its caption."""

import importlib

import job
from onemask.captions import figure_caption
from onemask.figures.compose import compose, save
from onemask.files import read_table, write_text
from onemask.masks import read_mask

READERS = {
    "decomposition": "decomposition",
    "blocking": "measures",
    "reversal": "measures",
    "perplexity": "measures",
    "kl": "reversal",
    "structure": "mask_structure",
    "training": "mask_training",
}


def of_model(kind, path, params, inputs):
    """A figure's arguments from one model's file."""
    if kind == "mask":
        mask = read_mask(path)
        return {"layer": mask.layer} if "decomposition" in inputs else {"keep": mask.keep.numpy()}
    table = read_table(path, READERS[kind])
    return {kind: table[table["split"] == params.test_split] if kind == "reversal" else table}


def main(smk):
    module = importlib.import_module(f"onemask.figures.{smk.params.name}")
    tables = {label: {} for label in smk.params.labels}
    for kind, paths in smk.input.items():
        if kind == "study":
            table = read_table(paths, "measures").query("relation == 'all'")
            for label, model in zip(smk.params.labels, smk.params.models, strict=True):
                tables[label]["measures"] = table[table["model"] == model]
            continue
        for label, path in zip(smk.params.labels, [paths] if isinstance(paths, str) else paths, strict=True):
            tables[label] |= of_model(kind, path, smk.params, set(smk.input.keys()))
    figure = compose(module.draw, tables, module.SIZE)
    save(figure, smk.output.pdf)
    save(figure, smk.output.png)
    studied = {name for table in tables.values() if "measures" in table for name in table["measures"]["method"]}
    method = ", ".join(sorted(studied)) or smk.params.method
    write_text(smk.output.caption, figure_caption(smk.params.name, module.__doc__, tables, method, smk.params.seed))


job.run(globals(), main, torch_threads=False)
