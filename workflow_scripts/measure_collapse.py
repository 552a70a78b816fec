"""Measure the perplexity of every test edit, and under the mask of those where it is worst."""

import job
from onemask.data.corpus import windows
from onemask.data.schemas import CORPUS
from onemask.editors.tables import layer_edits, read_edits
from onemask.io.batching import Journal
from onemask.io.files import read_table, write_table
from onemask.masking.masks import read_mask
from onemask.measuring.perplexity import collapse
from onemask.measuring.schemas import PERPLEXITY
from onemask.measuring.states import shown
from onemask.model.models import load_model


def main(smk):
    model = load_model(smk.input.model, smk.params.device, smk.params.dtype)
    table = read_edits(smk.input.edits)
    edits = layer_edits(table, model)
    mask = read_mask(smk.input.mask, model, edits)
    text = windows(model.tokenizer, read_table(smk.input.corpus, CORPUS), "perplexity", smk.params.tokens, smk.params.window)
    cases = table["case_id"].unique()
    source, progress = job.provenance(smk, model.info), job.Progress(len(cases), "edits")
    with Journal.beside(smk.output[0], [source, job.input_hashes(smk)]) as journal:
        states, searched = shown(edits, mask), max(1, smk.params.search_tokens // smk.params.window)
        measured = collapse(model, text, cases, edits, states, smk.params.worst, searched, journal, progress)
        write_table(smk.output.perplexity, PERPLEXITY, measured, source)


job.run(globals(), main)
