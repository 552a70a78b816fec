"""Measure how much the keys of the training facts' subjects share in each layer."""

import job
from model_job import load, working
from onemask.data.schemas import FACTS
from onemask.io.files import read_table, write_table
from onemask.measuring.key_energy import by_layer
from onemask.measuring.schemas import KEY_ENERGY


def main(smk):
    model, facts = load(smk), read_table(smk.input.facts, FACTS)
    source = job.provenance(smk, model.info)
    with working(smk, source, facts["subject"].nunique(), "subjects") as work:
        write_table(smk.output.energy, KEY_ENERGY, by_layer(model, facts, work), source)


job.run(globals(), main)
