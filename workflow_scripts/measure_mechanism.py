"""Look into the model at the last prompt position, in one of the ways of onemask.{activations,attention,patching}."""

import importlib

import job
from onemask.batching import Journal
from onemask.edit_tables import join_facts, layer_edits, read_edits, sample
from onemask.files import read_table, write_table
from onemask.masks import read_mask
from onemask.models import load_model
from onemask.states import shown


def main(smk):
    way = importlib.import_module(f"onemask.{smk.params.way}")
    model = load_model(smk.input.model, smk.params.device, smk.params.dtype)
    table = read_edits(smk.input.edits)
    facts, edits = join_facts(read_table(smk.input.facts, "facts"), table), layer_edits(table, model)
    mask = read_mask(smk.input.mask, model, edits)
    facts, edits = sample(facts, edits, smk.params.facts)
    source, progress = job.provenance(smk, model.info), job.Progress(len(facts), "facts")
    with Journal.beside(smk.output[0], [source, job.input_hashes(smk)]) as journal:
        found = way.measure(model, facts, edits, shown(edits, mask), smk.params.batch_tokens, journal, progress)
        write_table(smk.output.table, smk.params.way, found, source)


job.run(globals(), main)
