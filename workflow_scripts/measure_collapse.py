"""Measure the perplexity of every test edit, and under the mask of those where it is worst."""

import job
from onemask.batching import Journal
from onemask.corpus import windows
from onemask.edit_tables import layer_edits, read_edits
from onemask.files import read_table, sha256, write_table
from onemask.masks import read_mask
from onemask.models import load_model
from onemask.perplexity import collapse
from onemask.states import shown


def main(smk):
    model = load_model(smk.input.model, smk.params.device, smk.params.dtype)
    table = read_edits(smk.input.edits)
    edits = layer_edits(table, model)
    mask = read_mask(smk.input.mask, model, edits)
    text = windows(model.tokenizer, read_table(smk.input.corpus, "corpus"), "perplexity", smk.params.tokens, smk.params.window)
    source = job.provenance(smk, model.info)
    made_from = [source, text.tolist(), *map(sha256, (*smk.input.edits, smk.input.mask))]
    journal = Journal.beside(smk.output.perplexity, made_from)
    cases = table["case_id"].unique()
    progress = job.Progress(len(cases), "edits")
    measured = collapse(model, text, cases, edits, shown(edits, mask), smk.params.worst, journal, progress)
    write_table(smk.output.perplexity, "perplexity", measured, source)
    journal.clear()


job.run(globals(), main)
