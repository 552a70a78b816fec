"""Edit the test facts of one relation again, under the active mask."""

import job
from onemask import rome
from onemask.blocking import block
from onemask.editing import join_facts
from onemask.edits import stack_edits
from onemask.files import read_table, write_table
from onemask.masks import read_mask
from onemask.models import load_model


def main(smk):
    model = load_model(smk.input.model, smk.params.device, smk.params.dtype)
    table = read_table(smk.input.edits, "edits")
    facts, edits = join_facts(read_table(smk.input.facts, "facts"), table), stack_edits(table, model)
    templates = read_table(smk.input.templates, "templates")["text"].tolist()
    blocked = block(
        model,
        facts,
        edits,
        table["steps"],
        read_mask(smk.input.mask, model).keep,
        templates,
        rome.RomeSettings(**smk.params.rome),
        smk.params.batch_tokens,
        job.Progress(len(facts), "edits"),
    )
    write_table(smk.output.blocking, "blocking", blocked, job.provenance(smk, model.info))


job.run(globals(), main)
