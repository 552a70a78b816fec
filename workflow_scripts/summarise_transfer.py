"""From test edits under the masks of every method to RSR and Top-1 with intervals; `trained_on` names the mask's method."""

import job
from onemask.io.files import read_table, write_table
from onemask.masking.masks import read_mask
from onemask.masking.names import MAIN
from onemask.measuring.schemas import TRANSFER
from onemask.summaries.measures import pruned_measures, reversal_measures, single
from onemask.summaries.schemas import MEASURES


def main(smk):
    key = smk.params.key
    seed = int(smk.wildcards.seed)
    rows = reversal_measures(read_table(smk.input.reversal, TRANSFER), smk.params.test_split, seed, **key)
    for method, path in zip(smk.params.methods, smk.input.masks, strict=True):
        mask = read_mask(path)
        edits = mask.provenance["edits"]
        where = {"state": MAIN, "trained_on": method}
        rows.append(single("training_edits", edits, edits, seed, split="all", **where, **key))
        rows += pruned_measures([(where, mask.pruned)], seed, **key)
    write_table(smk.output.measures, MEASURES, rows, job.provenance(smk))


job.run(globals(), main, torch_threads=False)
