"""Count facts, objects, subjects, mappings, leaks, and the facts that a model does not know."""

import job
from onemask.data.facts import shared_with_training
from onemask.data.schemas import FACTS, KNOWLEDGE
from onemask.io.files import read_table, write_table
from onemask.summaries.measures import fact_measures
from onemask.summaries.schemas import MEASURES


def main(smk):
    splits = {split: read_table(path, FACTS) for split, path in zip(smk.params.split_names, smk.input.facts, strict=True)}
    knowledge = read_table(smk.input.knowledge, KNOWLEDGE) if smk.input.knowledge else None
    table = fact_measures(splits, shared_with_training(splits), knowledge, smk.params.seed, model=smk.wildcards.model)
    write_table(smk.output.measures, MEASURES, table, job.provenance(smk))


job.run(globals(), main, torch_threads=False)
