"""Edit facts of one split with one method: one relation's, each on its own, or all at once."""

import job
from onemask.data.schemas import FACTS, KNOWLEDGE
from onemask.editors.base import Task
from onemask.editors.run import edit, facts_to_edit
from onemask.editors.schemas import EDITS, TEMPLATES
from onemask.editors.second_moment import read_second_moments
from onemask.editors.tables import edits_table
from onemask.editors.templates import choose
from onemask.io.batching import Journal
from onemask.io.files import read_table, write_table
from onemask.model.models import load_model
from onemask.model.scoring import texts_of


def main(smk):
    model = load_model(smk.input.model, smk.params.device, smk.params.dtype)
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
    templates = choose(read_table(smk.input.templates, TEMPLATES), smk.params.settings.get("templates", []))
    moments = read_second_moments(smk.input.moments, model, smk.params.layers)
    with Journal.beside(smk.output[0], [source, job.input_hashes(smk)]) as journal:
        task = Task(model, facts.to_dict("records"), templates, moments, journal, job.Progress(len(facts), "edits"))
        edited = edit(task, smk.params.method, smk.params.settings, smk.params.editor, smk.params.easyeditor)
        table = edits_table(model, facts, edited, smk.params.together, smk.params.batch_tokens)
        write_table(smk.output.edits, EDITS, table, source)


job.run(globals(), main)
