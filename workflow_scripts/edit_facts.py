"""Edit facts of one split with one method: those of some relations, one group of relations after the other."""

import pandas as pd

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
    facts, knowledge = read_table(smk.input.facts, FACTS), read_table(smk.input.knowledge, KNOWLEDGE)
    split, limits = smk.wildcards.split, (smk.params.only_known, smk.params.per_relation)
    groups = [facts_to_edit(facts, knowledge, split, relations, *limits) for relations in smk.params.relations]
    texts_of(model, pd.concat(groups))  # raises before any work where a text is too long
    source = job.provenance(smk, model.info)
    templates = choose(read_table(smk.input.templates, TEMPLATES), smk.params.settings.get("templates", []))
    moments = read_second_moments(smk.input.moments, model, smk.params.layers)
    with Journal.beside(smk.output[0], [source, job.input_hashes(smk)]) as journal:
        progress, tables = job.Progress(sum(map(len, groups)), "edits"), []
        for number, group in enumerate(groups):
            part, done = journal.part(str(number)), progress.behind(sum(map(len, groups[:number])))
            task = Task(model, group.to_dict("records"), templates, moments, part, done)
            edited = edit(task, smk.params.method, smk.params.settings, smk.params.editor, smk.params.easyeditor)
            tables.append(edits_table(model, group, edited, smk.params.joint, smk.params.batch_tokens))
        write_table(smk.output.edits, EDITS, pd.concat(tables, ignore_index=True), source)


job.run(globals(), main)
