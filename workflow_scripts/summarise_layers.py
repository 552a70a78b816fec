"""Does shared key energy predict which layers one mask can undo? Energies by layer, and their rank correlation with test RSR."""

import job
from onemask.io.files import read_table, write_table
from onemask.measuring.schemas import KEY_ENERGY, REVERSAL
from onemask.summaries.measures import single
from onemask.summaries.schemas import MEASURES
from onemask.summaries.studies import layer_correlation


def main(smk):
    seed, key = int(smk.wildcards.seed), smk.params.key
    energy = read_table(smk.input.energy, KEY_ENERGY).set_index("layer")
    rows = [
        single(metric, energy.loc[layer, metric], energy.loc[layer, "subjects"], seed, **key | {"layer": layer}, split="all")
        for layer in smk.params.layers
        for metric in ("common_energy", "cosine")
    ]
    tables = {layer: read_table(path, REVERSAL) for layer, path in zip(smk.params.layers, smk.input.reversal, strict=True)}
    rows += layer_correlation(energy["common_energy"], tables, smk.params.mask, seed, **key)
    write_table(smk.output.measures, MEASURES, rows, job.provenance(smk))


job.run(globals(), main, torch_threads=False)
