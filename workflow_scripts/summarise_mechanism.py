"""From contributions, attention weights and patching to means over facts with intervals."""

import job
from onemask.io.files import read_table, write_table
from onemask.measuring.schemas import ATTENTION, DECOMPOSITION, PATCHING
from onemask.summaries import mechanism
from onemask.summaries.measures import relation_by_case
from onemask.summaries.schemas import MEASURES


def main(smk):
    key = smk.params.key
    split, seed, layers = smk.params.test_split, int(smk.wildcards.seed), smk.params.layers
    weights = read_table(smk.input.attention, ATTENTION)
    relations = relation_by_case(weights)
    parts = mechanism.contributions(read_table(smk.input.decomposition, DECOMPOSITION), smk.params.as_released)
    rows = mechanism.decomposition_measures(parts, relations, layers, split, seed, **key)
    rows += mechanism.attention_measures(weights, layers, split, seed, **key)
    rows += mechanism.head_measures(weights, split, seed, **key)
    rows += mechanism.patching_measures(read_table(smk.input.patching, PATCHING), split, seed, **key)
    write_table(smk.output.measures, MEASURES, rows, job.provenance(smk))


job.run(globals(), main, torch_threads=False)
