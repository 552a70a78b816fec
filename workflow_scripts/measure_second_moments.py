"""Measure the uncentred second moments of the edited matrices' inputs, of all layers that a method edits, in one pass."""

import job
from model_job import load
from onemask.data.corpus import windows
from onemask.data.schemas import CORPUS
from onemask.editors.second_moment import measure, write_second_moments
from onemask.io.files import read_table
from onemask.io.tensor_files import Checkpoint


def main(smk):
    model, layers = load(smk), [int(layer) for layer in smk.wildcards.layers.split("-")]
    text = windows(model.tokenizer, read_table(smk.input.corpus, CORPUS), "statistics", smk.params.tokens, smk.params.window)
    source = job.provenance(smk, model.info)
    with Checkpoint.beside(smk.output.moments, [source, text.tolist()]) as checkpoint:
        moments = measure(model, layers, text, smk.params.batch_tokens, checkpoint, job.Progress(len(text), "windows"))
        write_second_moments(smk.output.moments, moments, source)


job.run(globals(), main)
