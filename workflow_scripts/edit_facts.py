"""Edit facts of one split with one method: one relation's, each on its own, or all at once."""

import job
from model_job import editing_task, load, working
from onemask.data.schemas import FACTS, KNOWLEDGE
from onemask.editors.run import edit, facts_to_edit
from onemask.editors.schemas import EDITS
from onemask.editors.tables import edits_table
from onemask.io.files import read_table, write_table
from onemask.model.scoring import texts_of


def main(smk):
    model = load(smk)
    facts = facts_to_edit(
        read_table(smk.input.facts, FACTS),
        read_table(smk.input.knowledge, KNOWLEDGE),
        smk.wildcards.split,
        smk.params.relations,
        smk.params.only_known,
        smk.params.per_relation,
    )
    texts_of(model, facts)  # raises before any work where a text is too long
    source = job.provenance(smk, model.info)
    with working(smk, source, len(facts), "edits") as work:
        task = editing_task(smk, model, facts, work)
        edited = edit(task, smk.params.method, smk.params.settings, smk.params.editor, smk.params.easyeditor)
        table = edits_table(model, facts, edited, smk.params.together, work.batch_tokens)
        write_table(smk.output.edits, EDITS, table, source)


job.run(globals(), main)
