"""Sample the splits of facts, or take the released ones."""

import job
from onemask.data import counterfact as records
from onemask.data import facts
from onemask.data.schemas import FACTS
from onemask.io.files import write_table


def main(smk):
    settings = smk.params.facts
    if settings["splits"] == "released":
        splits = facts.released_splits(settings["released"], settings["relations"], settings["per_relation"])
    else:
        if settings["dataset"] == "embedded":
            table = records.embedded_facts(smk.input.facts, smk.input.relations, smk.params.seed)
        else:
            table = records.read_counterfact(smk.input.records, settings["skip_bad"])
        splits = facts.sample_splits(
            table,
            settings["relations"],
            settings["ood_relations"],
            settings["per_relation"],
            smk.params.seed,
        )
        facts.refuse_leaks(splits)
    facts.refuse_conflicts({split: splits[split] for split in smk.params.split_names})
    for split, path in zip(smk.params.split_names, smk.output.facts, strict=True):
        write_table(path, FACTS, splits[split], job.provenance(smk))


job.run(globals(), main, torch_threads=False)
