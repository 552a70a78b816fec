"""Does shared key energy predict which layers one mask can undo? Energies by layer, and their rank correlation with test RSR."""

import job
from onemask.io.files import read_table, write_table
from onemask.measuring.schemas import KEY_ENERGY, REVERSAL
from onemask.summaries.measures import single
from onemask.summaries.schemas import MEASURES
from onemask.summaries.studies import layer_correlation


def main(smk):
    seed, model = int(smk.wildcards.seed), smk.wildcards.model
    energy = read_table(smk.input.energy, KEY_ENERGY).set_index("layer")
    layers = dict(zip(smk.params.layers, smk.params.methods, strict=True))
    where = {"model": model, "mask": "none", "split": "all"}
    rows = [
        single(metric, energy.loc[layer, metric], energy.loc[layer, "subjects"], seed, method=method, **where)
        for layer, method in layers.items()
        for metric in ("common_energy", "cosine")
    ]
    tables = {layer: read_table(path, REVERSAL) for layer, path in zip(layers, smk.input.reversal, strict=True)}
    key = {"model": model, "method": smk.wildcards.method}
    rows += layer_correlation(energy["common_energy"], tables, smk.params.mask, seed, **key)
    write_table(smk.output.measures, MEASURES, rows, job.provenance(smk))


job.run(globals(), main, torch_threads=False)
