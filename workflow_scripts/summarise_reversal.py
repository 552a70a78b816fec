"""From scored facts to RSR, Top-1, KL (and table 3's confidence, neighbourhoods) with intervals."""

import job
from onemask.io.files import read_table, write_table
from onemask.masking.masks import read_mask
from onemask.masking.names import MAIN
from onemask.measuring.schemas import REVERSAL
from onemask.summaries import measures
from onemask.summaries.schemas import MEASURES


def main(smk):
    wildcards, seed = smk.wildcards, int(smk.wildcards.seed)
    key = {"model": wildcards.model, "method": wildcards.method}
    mask = read_mask(smk.input.mask)
    tables = {split: read_table(path, REVERSAL) for split, path in zip(smk.params.split_names, smk.input.reversal, strict=True)}
    covered = set().union(*(table["state"] for table in tables.values())) - {"original", "edited", "clipped"}
    pruned = {state: 1.0 if state == "layer_zeroed" else mask.pruned for state in sorted(covered)}
    rows = measures.pruned_measures(pruned, seed, **key)
    trained = {"mask": wildcards.mask, "split": "all", **key}
    rows.append(measures.single("training_edits", mask.provenance["edits"], mask.provenance["edits"], seed, **trained))
    for split, table in tables.items():
        rows += measures.reversal_measures(table, split, seed, **key)
    test = smk.params.test_split
    if wildcards.mask == MAIN:
        rows += measures.confidence_measures(tables[test], test, seed, **key)
    for path in smk.input.neighborhood:
        rows += measures.neighborhood_measures(read_table(path, REVERSAL), test, seed, **key)
    write_table(smk.output.measures, MEASURES, rows, job.provenance(smk))


job.run(globals(), main, torch_threads=False)
