"""Edit test facts again, under the active mask, one group of relations after the other."""

import numpy as np
import pandas as pd
import torch

import job
from onemask.data.schemas import FACTS
from onemask.editors.base import Task
from onemask.editors.run import edit
from onemask.editors.schemas import TEMPLATES
from onemask.editors.second_moment import read_second_moments
from onemask.editors.tables import join_facts, layer_edits, read_edits
from onemask.editors.templates import choose
from onemask.io.batching import Journal
from onemask.io.files import read_table, write_table
from onemask.masking.masks import read_mask
from onemask.measuring.blocking import block
from onemask.measuring.schemas import BLOCKING
from onemask.model.models import load_model


def main(smk):
    model = load_model(smk.input.model, smk.params.device, smk.params.dtype)
    table = read_edits([smk.input.edits])
    facts, edits = join_facts(read_table(smk.input.facts, FACTS), table), layer_edits(table, model)
    source = job.provenance(smk, model.info)
    templates = choose(read_table(smk.input.templates, TEMPLATES), smk.params.settings["templates"])
    moments = read_second_moments(smk.input.moments, model, smk.params.layers)
    keep = read_mask(smk.input.mask, model, edits).keep.to(edits.device)
    steps, progress, tables = table.drop_duplicates("case_id")["steps"], job.Progress(len(facts), "edits"), []
    groups = [np.flatnonzero(facts["relation_id"].isin(relations)) for relations in smk.params.relations]
    groups = [rows for rows in groups if len(rows)]  # none where every edit of a relation failed
    with Journal.beside(smk.output[0], [source, job.input_hashes(smk)]) as journal:
        for number, rows in enumerate(groups):
            group, part = facts.iloc[rows].reset_index(drop=True), journal.part(str(number))
            done = progress.behind(sum(map(len, groups[:number])))
            blocked = block(
                Task(model, group.to_dict("records"), templates, moments, part, done),
                group,
                edits[torch.from_numpy(rows)].alone,
                steps.iloc[rows],
                keep,
                lambda task: edit(task, smk.params.method, smk.params.settings),
                smk.params.batch_tokens,
            )
            tables.append(blocked)
        write_table(smk.output.blocking, BLOCKING, pd.concat(tables, ignore_index=True), source)


job.run(globals(), main)
