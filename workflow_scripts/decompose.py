"""Decompose the logits of test facts by attention and MLP, in the original, edited and pruned model."""

import job
from onemask.editors.tables import join_facts, layer_edits, read_edits, sample
from onemask.io.batching import Journal
from onemask.io.files import read_table, write_table
from onemask.masking.masks import read_mask
from onemask.measuring.mechanism.decomposition import decompose
from onemask.measuring.states import shown
from onemask.model.models import load_model


def main(smk):
    model = load_model(smk.input.model, smk.params.device, smk.params.dtype)
    table = read_edits(smk.input.edits)
    facts, edits = join_facts(read_table(smk.input.facts, "facts"), table), layer_edits(table, model)
    mask = read_mask(smk.input.mask, model, edits)
    facts, edits = sample(facts, edits, smk.params.facts)
    states, source, progress = shown(edits, mask), job.provenance(smk, model.info), job.Progress(len(facts), "facts")
    with Journal.beside(smk.output[0], [source, job.input_hashes(smk)]) as journal:
        parts = decompose(model, facts, edits, states, smk.params.batch_tokens, smk.params.as_released, journal, progress)
        write_table(smk.output.decomposition, "decomposition", parts, source)


job.run(globals(), main)
