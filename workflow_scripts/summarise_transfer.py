"""From test edits under the masks of every method to RSR and Top-1 with intervals; `mask` is the method it was trained on."""

import job
from onemask.io.files import read_table, write_table
from onemask.masking.masks import read_mask
from onemask.measuring.schemas import REVERSAL
from onemask.summaries.measures import pruned_measures, reversal_measures, single
from onemask.summaries.schemas import MEASURES


def main(smk):
    key = {"model": smk.wildcards.model, "method": smk.wildcards.method}
    seed = int(smk.wildcards.seed)
    rows = reversal_measures(read_table(smk.input.reversal, REVERSAL), smk.params.test_split, seed, **key)
    for method, path in zip(smk.params.methods, smk.input.masks, strict=True):
        mask = read_mask(path)
        edits = mask.provenance["edits"]
        rows.append(single("training_edits", edits, edits, seed, mask=method, split="all", **key))
        rows += pruned_measures({method: mask.pruned}, seed, **key)
    write_table(smk.output.measures, MEASURES, rows, job.provenance(smk))


job.run(globals(), main, torch_threads=False)
