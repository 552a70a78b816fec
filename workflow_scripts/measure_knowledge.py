"""Score every fact of every split with the unedited model."""

import pandas as pd

import job
from model_job import load, working
from onemask.data.schemas import FACTS, KNOWLEDGE
from onemask.editors.encodable import encodable
from onemask.io.files import read_table, write_table
from onemask.io.problems import Problems
from onemask.model.scoring import knowledge


def main(smk):
    model = load(smk)
    splits = zip(smk.params.split_names, smk.input.facts, strict=True)
    facts = pd.concat([read_table(path, FACTS).assign(split=split) for split, path in splits], ignore_index=True)
    problems = Problems("the run's facts", smk.params.skip_bad)
    facts = encodable(model, facts, problems)
    problems.settle(len(facts))
    source = job.provenance(smk, model.info)
    with working(smk, source, len(facts), "facts") as work:
        write_table(smk.output.knowledge, KNOWLEDGE, knowledge(model, facts, work), source)


job.run(globals(), main)
