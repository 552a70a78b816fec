"""Measure the perplexity of the original model, and of sampled test edits in every state that a mask is measured in."""

import job
from onemask.data.corpus import windows
from onemask.data.schemas import CORPUS
from onemask.editors.tables import layer_edits, read_edits
from onemask.io.batching import Journal
from onemask.io.files import read_table, write_table
from onemask.masking.masks import read_mask
from onemask.measuring.perplexity import measure, sampled_cases
from onemask.measuring.schemas import PERPLEXITY
from onemask.measuring.states import states_of
from onemask.model.models import load_model


def main(smk):
    model = load_model(smk.input.model, smk.params.device, smk.params.dtype)
    seed = int(smk.wildcards.seed)
    table = read_edits(smk.input.edits)
    if not table["joint"].all():
        table = table[table["case_id"].isin(sampled_cases(table, smk.params.edits, seed))]
    edits = layer_edits(table, model)
    mask = read_mask(smk.input.mask, model, edits)
    states = states_of(edits, mask, seed, **smk.params.states)
    text = windows(model.tokenizer, read_table(smk.input.corpus, CORPUS), "perplexity", smk.params.tokens, smk.params.window)
    source, progress = job.provenance(smk, model.info), job.Progress(table["case_id"].nunique(), "edits")
    with Journal.beside(smk.output[0], [source, job.input_hashes(smk)]) as journal:
        measured = measure(model, text, table, edits, states, journal, progress)
        write_table(smk.output.perplexity, PERPLEXITY, measured, source)


job.run(globals(), main)
