"""Measure the uncentred second moment of the edited matrix's input."""

import json

from safetensors.torch import save_file

import job
from onemask.corpus import windows
from onemask.files import METADATA_KEY, read_table, replacing
from onemask.models import load_model
from onemask.second_moment import second_moment


def main(smk):
    model = load_model(smk.input.model, smk.params.device, smk.params.dtype)
    text = windows(model.tokenizer, read_table(smk.input.corpus, "corpus"), "statistics", smk.params.tokens, smk.params.window)
    moment = second_moment(model, int(smk.wildcards.layer), text, batch=4, progress=job.Progress(len(text), "windows"))
    metadata = {**job.provenance(smk, model.info), "samples": text.numel(), "layer": int(smk.wildcards.layer)}
    with replacing(smk.output.moment) as temporary:
        save_file({"second_moment": moment}, temporary, {METADATA_KEY.decode(): json.dumps(metadata, sort_keys=True)})


job.run(globals(), main)
