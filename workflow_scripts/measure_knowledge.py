"""Score every fact of every split with the unedited model."""

import pandas as pd

import job
from onemask.data.schemas import FACTS, KNOWLEDGE
from onemask.io.batching import Journal
from onemask.io.files import read_table, write_table
from onemask.model.models import load_model
from onemask.model.scoring import knowledge


def main(smk):
    model = load_model(smk.input.model, smk.params.device, smk.params.dtype)
    splits = zip(smk.params.split_names, smk.input.facts, strict=True)
    facts = pd.concat([read_table(path, FACTS).assign(split=split) for split, path in splits], ignore_index=True)
    source = job.provenance(smk, model.info)
    with Journal.beside(smk.output[0], [source, job.input_hashes(smk)]) as journal:
        table = knowledge(model, facts, smk.params.batch_tokens, journal, job.Progress(len(facts), "facts"))
        write_table(smk.output.knowledge, KNOWLEDGE, table, source)


job.run(globals(), main)
