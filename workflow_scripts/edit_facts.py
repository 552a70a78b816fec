"""Edit facts of one split with one method: those of some relations, one group of relations after the other."""

import pandas as pd

import job
from model_job import editing_task, load, working
from onemask.data.schemas import FACTS, KNOWLEDGE
from onemask.editors.encodable import encodable
from onemask.editors.run import edit, facts_to_edit
from onemask.editors.schemas import EDITS
from onemask.editors.tables import edits_table, without_unstable
from onemask.io.files import read_table, write_table
from onemask.io.problems import Problems


def main(smk):
    model = load(smk)
    facts, knowledge = read_table(smk.input.facts, FACTS), read_table(smk.input.knowledge, KNOWLEDGE)
    split, limits = smk.wildcards.split, (smk.params.only_known, smk.params.per_relation)
    groups = [facts_to_edit(facts, knowledge, split, relations, *limits) for relations in smk.params.relations]
    problems = Problems("the run's facts", smk.params.skip_bad)
    groups = [encodable(model, group, problems) for group in groups]
    problems.settle(sum(map(len, groups)))
    source, tables = job.provenance(smk, model.info), []
    with working(smk, source, sum(map(len, groups)), "edits") as work:
        for group, part in zip(groups, work.in_turn(map(len, groups)), strict=True):
            task = editing_task(smk, model, group, part)
            edited = edit(task, smk.params.method, smk.params.settings, smk.params.editor, smk.params.easyeditor)
            table = edits_table(model, group, edited, smk.params.joint, work.batch_tokens)
            tables.append(without_unstable(table) if smk.params.only_stable else table)
        write_table(smk.output.edits, EDITS, pd.concat(tables, ignore_index=True), source)


job.run(globals(), main)
