"""Score the test edits of one method under the masks that were trained on the edits of every method."""

import torch

import job
from onemask.data.schemas import FACTS
from onemask.editors.tables import join_facts, layer_edits, read_edits
from onemask.io.batching import Journal
from onemask.io.files import read_table, read_tables, write_table
from onemask.masking.masks import read_mask
from onemask.masking.selection import unseen
from onemask.measuring.reversal import reversal
from onemask.measuring.schemas import TRANSFER
from onemask.measuring.states import transferred
from onemask.model.models import load_model


def main(smk):
    model = load_model(smk.input.model, smk.params.device, smk.params.dtype)
    table = read_edits(smk.input.edits)
    facts, edits = join_facts(read_table(smk.input.facts, FACTS), table), layer_edits(table, model)
    rows = unseen(facts, read_tables(smk.input.training, FACTS))
    facts, edits = facts.iloc[rows].reset_index(drop=True), edits[torch.from_numpy(rows)]
    masks = [read_mask(path, model, edits) for path in smk.input.masks]
    states = transferred(edits, dict(zip(smk.params.methods, masks, strict=True)), int(smk.wildcards.seed))
    source, progress = job.provenance(smk, model.info), job.Progress(len(facts), "facts")
    with Journal.beside(smk.output[0], [source, job.input_hashes(smk)]) as journal:
        scored = reversal(model, facts, edits, states, smk.params.batch_tokens, journal=journal, progress=progress)
        write_table(smk.output.reversal, TRANSFER, scored, source)


job.run(globals(), main)
