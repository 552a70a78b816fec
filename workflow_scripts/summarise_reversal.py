"""From scored facts to RSR, Top-1, KL (and table 3's confidence, neighbourhoods) with intervals."""

import job
from onemask.io.files import read_table, write_table
from onemask.masking.masks import read_mask
from onemask.masking.names import MAIN
from onemask.measuring.schemas import REVERSAL
from onemask.summaries import measures
from onemask.summaries.schemas import MEASURES


def main(smk):
    seed, key, columns = int(smk.wildcards.seed), smk.params.key, smk.params.mask
    mask = read_mask(smk.input.mask)
    tables = {split: read_table(path, REVERSAL) for split, path in zip(smk.params.split_names, smk.input.reversal, strict=True)}
    states = {state for table in tables.values() for state in table["state"]}
    rows = measures.pruned_measures(measures.pruned_of_states(states, mask.pruned, columns), seed, **key)
    edits, state = mask.provenance["edits"], smk.params.state
    rows.append(measures.single("training_edits", edits, edits, seed, state=state, split="all", **columns, **key))
    for split, table in tables.items():
        rows += measures.reversal_measures(table, split, seed, columns, **key)
    test = smk.params.test_split
    if smk.wildcards.mask == MAIN:
        rows += measures.confidence_measures(tables[test], test, seed, **key)
    for path in smk.input.neighborhood:
        rows += measures.neighborhood_measures(read_table(path, REVERSAL), test, seed, **key)
    write_table(smk.output.measures, MEASURES, rows, job.provenance(smk))


job.run(globals(), main, torch_threads=False)
