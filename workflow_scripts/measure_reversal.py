"""Score the facts of a split in every state of the edited layer that a mask is measured in."""

import torch

import job
from onemask.data.schemas import FACTS
from onemask.editors.tables import join_facts, layer_edits, read_edits
from onemask.io.batching import Journal
from onemask.io.files import read_table, write_table
from onemask.masking.masks import read_mask
from onemask.masking.selection import measured
from onemask.measuring.reversal import reversal
from onemask.measuring.schemas import REVERSAL
from onemask.measuring.states import states_of
from onemask.model.models import load_model


def main(smk):
    model = load_model(smk.input.model, smk.params.device, smk.params.dtype)
    table = read_edits(smk.input.edits)
    facts, edits = join_facts(read_table(smk.input.facts, FACTS), table), layer_edits(table, model)
    rows = measured(facts, smk.params.plan, smk.wildcards.split, smk.params.seed)
    facts, edits = facts.iloc[rows].reset_index(drop=True), edits[torch.from_numpy(rows)]
    mask = read_mask(smk.input.mask, model, edits)
    states = states_of(edits, mask, int(smk.wildcards.seed), **smk.params.states)
    source, progress = job.provenance(smk, model.info), job.Progress(len(facts), "facts")
    with Journal.beside(smk.output[0], [source, job.input_hashes(smk)]) as journal:
        scored = reversal(
            model,
            facts,
            edits,
            states,
            smk.params.batch_tokens,
            as_released=smk.params.as_released,
            journal=journal,
            progress=progress,
        )
        write_table(smk.output.reversal, REVERSAL, scored, source)


job.run(globals(), main)
