"""Edit the facts of one relation and split with ROME, one rank-one edit each."""

import job
from onemask import rome
from onemask.editing import edits_table, facts_to_edit
from onemask.files import read_table, write_table
from onemask.models import load_model


def main(smk):
    model = load_model(smk.input.model, smk.params.device, smk.params.dtype)
    facts = facts_to_edit(
        read_table(smk.input.facts, "facts"),
        read_table(smk.input.knowledge, "knowledge"),
        smk.wildcards.split,
        smk.wildcards.relation,
        smk.params.only_known,
    )
    templates = read_table(smk.input.templates, "templates")["text"].tolist()
    settings = rome.RomeSettings(**smk.params.rome)
    result = rome.edit(model, facts.to_dict("records"), templates, settings, job.Progress(len(facts), "edits"))
    table = edits_table(model, facts, result, smk.params.batch_tokens)
    write_table(smk.output.edits, "edits", table, job.provenance(smk, model.info))


job.run(globals(), main)
