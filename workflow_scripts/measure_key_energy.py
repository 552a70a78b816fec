"""Measure how much the keys of the training facts' subjects share in each layer."""

import job
from onemask.data.schemas import FACTS
from onemask.io.batching import Journal
from onemask.io.files import read_table, write_table
from onemask.measuring.key_energy import by_layer
from onemask.measuring.schemas import KEY_ENERGY
from onemask.model.models import load_model


def main(smk):
    model = load_model(smk.input.model, smk.params.device, smk.params.dtype)
    facts = read_table(smk.input.facts, FACTS)
    source, progress = job.provenance(smk, model.info), job.Progress(facts["subject"].nunique(), "subjects")
    with Journal.beside(smk.output[0], [source, job.input_hashes(smk)]) as journal:
        write_table(smk.output.energy, KEY_ENERGY, by_layer(model, facts, journal, progress), source)


job.run(globals(), main)
