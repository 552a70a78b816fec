"""Score every fact of every split with the unedited model."""

import pandas as pd

import job
from onemask.files import read_table, write_table
from onemask.models import load_model
from onemask.scoring import knowledge


def main(smk):
    model = load_model(smk.input.model, smk.params.device, smk.params.dtype)
    progress = job.Progress(len(smk.params.split_names), "splits")
    tables = []
    for split, path in zip(smk.params.split_names, smk.input.facts, strict=True):
        tables.append(knowledge(model, read_table(path, "facts"), split, smk.params.batch_tokens))
        progress(len(tables))
    write_table(smk.output.knowledge, "knowledge", pd.concat(tables), job.provenance(smk, model.info))


job.run(globals(), main)
