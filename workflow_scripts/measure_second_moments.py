"""Measure the uncentred second moments of the edited matrices' inputs, of all layers that a method edits, in one pass."""

from pathlib import Path

import job
from onemask.data.corpus import windows
from onemask.data.schemas import CORPUS
from onemask.editors.second_moment import measure, write_second_moments
from onemask.io.files import read_table
from onemask.model.models import load_model


def main(smk):
    model = load_model(smk.input.model, smk.params.device, smk.params.dtype)
    text = windows(model.tokenizer, read_table(smk.input.corpus, CORPUS), "statistics", smk.params.tokens, smk.params.window)
    source, checkpoint = job.provenance(smk, model.info), Path(smk.output.moments + ".checkpoint")
    moments = measure(
        model,
        [int(layer) for layer in smk.wildcards.layers.split("-")],
        text,
        smk.params.batch_tokens,
        job.Progress(len(text), "windows"),
        checkpoint,
        job.digest([source, text.tolist()]),
    )
    write_second_moments(smk.output.moments, moments, source)
    checkpoint.unlink(missing_ok=True)


job.run(globals(), main)
