"""Fetch a model and write it as one folder: safetensors, config, tokenizer, onemask.json."""

import job
from onemask.data.assets import fetch_model


def main(smk):
    fetch_model(smk.wildcards.model, smk.params.spec, smk.output.folder)


job.run(globals(), main)
