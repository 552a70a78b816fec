"""Draw one figure, a row a model, as PDF and PNG, and write its caption."""

import importlib

import job
from onemask.captions import figure_caption
from onemask.figures.compose import compose, save
from onemask.files import read_table, write_text
from onemask.masks import read_mask


def test_split(path):
    table = read_table(path, "measures")
    return {"reversal": table[table["split"] == "test"]}


READERS = {
    "decomposition": lambda path: {"decomposition": read_table(path, "decomposition")},
    "blocking": lambda path: {"blocking": read_table(path, "measures")},
    "reversal": test_split,
    "perplexity": lambda path: {"perplexity": read_table(path, "measures")},
    "kl": lambda path: {"kl": read_table(path, "reversal")},
    "structure": lambda path: {"structure": read_table(path, "mask_structure")},
    "training": lambda path: {"training": read_table(path, "mask_training")},
}


def main(smk):
    module = importlib.import_module(f"onemask.figures.{smk.params.name}")
    tables = {label: {} for label in smk.params.labels}
    for kind, paths in smk.input.items():
        for label, path in zip(smk.params.labels, [paths] if isinstance(paths, str) else paths, strict=True):
            if kind == "mask":
                mask = read_mask(path)
                tables[label] |= {"layer": mask.layer} if "decomposition" in smk.input.keys() else {"keep": mask.keep.numpy()}
            else:
                tables[label] |= READERS[kind](path)
    figure = compose(module.draw, tables, module.SIZE)
    save(figure, smk.output.pdf)
    save(figure, smk.output.png)
    write_text(smk.output.caption, figure_caption(smk.params.name, module.__doc__, tables, smk.params.method, smk.params.seed))


job.run(globals(), main, torch_threads=False)
