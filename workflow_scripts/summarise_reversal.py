"""From scored facts to RSR, Top-1, KL (and table 3's confidence) with intervals."""

import pandas as pd

import job
from onemask import measures
from onemask.files import read_table, write_table
from onemask.masks import masks_of_states, pruned_share, read_mask


def main(smk):
    key = {"model": smk.wildcards.model, "method": smk.wildcards.method}
    seed = int(smk.wildcards.seed)
    tables = {split: read_table(path, "reversal") for split, path in zip(smk.params.split_names, smk.input.reversal, strict=True)}
    masks = masks_of_states(read_mask(smk.input.mask), seed)
    rows = [
        measures.reversal_measures(tables, {name: pruned_share(keep) for name, keep in masks.items()}, seed, **key),
        measures.confidence_measures(tables["test"], seed, **key),
    ]
    write_table(smk.output.measures, "measures", pd.concat(rows), job.provenance(smk))


job.run(globals(), main, torch_threads=False)
