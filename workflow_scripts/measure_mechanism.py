"""Look into the model at the last prompt position, in one of the ways of onemask.measuring.mechanism."""

import importlib

import job
from model_job import Inputs, working
from onemask.editors.tables import sample
from onemask.io.files import write_table
from onemask.measuring.states import shown


def main(smk):
    way = importlib.import_module(f"onemask.measuring.mechanism.{smk.params.way}")
    inputs = Inputs(smk)
    model, mask = inputs.model, inputs.mask
    facts, edits = sample(inputs.facts, inputs.edits, smk.params.facts)
    source = job.provenance(smk, model.info)
    with working(smk, source, len(facts), "facts") as work:
        table = way.measure(model, facts, edits, shown(edits, mask), work, **smk.params.options)
        write_table(smk.output.table, way.SCHEMA, table, source)


job.run(globals(), main)
