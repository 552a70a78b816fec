"""Sample the splits of facts, or take the released ones."""

import pandas as pd

import job
from onemask import facts
from onemask.files import write_table


def main(smk):
    settings = smk.params.facts
    if settings["splits"] == "released":
        splits = facts.released_splits(settings["released"], settings["relations"])
    else:
        if settings["dataset"] == "embedded":
            tables = (pd.read_csv(path, dtype=str, keep_default_na=False) for path in (smk.input.facts, smk.input.relations))
            records = facts.embedded_records(*tables, seed=smk.params.seed)
        else:
            records = facts.read_records(smk.input.records)
        splits = facts.sample_splits(
            facts.to_table(records),
            settings["relations"],
            settings["ood_relations"],
            settings["per_relation"],
            smk.params.seed,
        )
        facts.refuse_leaks(splits)
    for split, path in zip(smk.params.split_names, smk.output.facts, strict=True):
        write_table(path, "facts", splits[split], job.provenance(smk))


job.run(globals(), main, torch_threads=False)
