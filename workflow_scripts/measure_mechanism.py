"""Look into the model at the last prompt position, in one of the ways of onemask.measuring.mechanism."""

import importlib

import job
from onemask.data.schemas import FACTS
from onemask.editors.tables import join_facts, layer_edits, read_edits, sample
from onemask.io.batching import Journal
from onemask.io.files import read_table, write_table
from onemask.masking.masks import read_mask
from onemask.measuring.states import shown
from onemask.model.models import load_model


def main(smk):
    way = importlib.import_module(f"onemask.measuring.mechanism.{smk.params.way}")
    model = load_model(smk.input.model, smk.params.device, smk.params.dtype)
    table = read_edits(smk.input.edits)
    facts, edits = join_facts(read_table(smk.input.facts, FACTS), table), layer_edits(table, model)
    mask = read_mask(smk.input.mask, model, edits)
    facts, edits = sample(facts, edits, smk.params.facts)
    states = shown(edits, mask)
    source, progress = job.provenance(smk, model.info), job.Progress(len(facts), "facts")
    with Journal.beside(smk.output[0], [source, job.input_hashes(smk)]) as journal:
        work = smk.params.batch_tokens, journal, progress
        table = way.measure(model, facts, edits, states, *work, **smk.params.options)
        write_table(smk.output.table, way.SCHEMA, table, source)


job.run(globals(), main)
