"""Score the neighbourhood prompts of the test facts: what else do edits and the mask change?"""

import job
from onemask.data.schemas import FACTS
from onemask.editors.tables import join_facts, layer_edits, read_edits
from onemask.io.batching import Journal
from onemask.io.errors import OnemaskError
from onemask.io.files import read_table, write_table
from onemask.masking.masks import read_mask
from onemask.measuring.reversal import neighbours, reversal
from onemask.measuring.schemas import REVERSAL
from onemask.measuring.states import states_of
from onemask.model.models import load_model


def main(smk):
    model = load_model(smk.input.model, smk.params.device, smk.params.dtype)
    table = read_edits(smk.input.edits)
    facts, edits = join_facts(read_table(smk.input.facts, FACTS), table), layer_edits(table, model)
    mask = read_mask(smk.input.mask, model, edits)
    near, owners = neighbours(facts, smk.params.prompts)
    if near.empty:
        raise OnemaskError("neighbourhood prompts in the test facts", "none", "Set neighborhood_prompts: 0.")
    states = states_of(edits, mask, int(smk.wildcards.seed), **smk.params.states)
    source, progress = job.provenance(smk, model.info), job.Progress(len(near), "prompts")
    with Journal.beside(smk.output[0], [source, job.input_hashes(smk)]) as journal:
        scored = reversal(model, near, edits, states, smk.params.batch_tokens, owners, journal=journal, progress=progress)
        write_table(smk.output.neighborhood, REVERSAL, scored, source)


job.run(globals(), main)
