"""Edit test facts again, under the active mask, one group of relations after the other."""

import pandas as pd
import torch

import job
from model_job import Inputs, editing_task, working
from onemask.editors.run import edit
from onemask.io.files import write_table
from onemask.measuring.blocking import block, by_relations
from onemask.measuring.schemas import BLOCKING


def main(smk):
    inputs = Inputs(smk)
    model, facts, edits = inputs.model, inputs.facts, inputs.edits
    keep, steps = inputs.mask.keep.to(edits.device), inputs.table.drop_duplicates("case_id")["steps"]
    source = job.provenance(smk, model.info)
    groups = by_relations(facts, smk.params.relations)
    with working(smk, source, len(facts), "edits") as work:
        tables = [
            block(
                editing_task(smk, model, group := facts.iloc[rows].reset_index(drop=True), part),
                group,
                edits[torch.from_numpy(rows)].single,
                steps.iloc[rows],
                keep,
                lambda task: edit(task, smk.params.method, smk.params.settings),
            )
            for rows, part in zip(groups, work.in_turn(map(len, groups)), strict=True)
        ]
        write_table(smk.output.blocking, BLOCKING, pd.concat(tables, ignore_index=True), source)


job.run(globals(), main)
