"""Perplexity of a few test edits, pruned without training."""

import job
from onemask.data.corpus import windows
from onemask.data.schemas import CORPUS, FACTS
from onemask.editors.tables import join_facts, layer_edits, read_edits
from onemask.io.batching import Journal
from onemask.io.files import read_table, write_table
from onemask.measuring import perplexity, pruning
from onemask.measuring.schemas import PRUNING_PERPLEXITY
from onemask.model.models import load_model


def main(smk):
    model = load_model(smk.input.model, smk.params.device, smk.params.dtype)
    table = read_edits(smk.input.edits)
    facts, edits = join_facts(read_table(smk.input.facts, FACTS), table), layer_edits(table, model)
    activation = pruning.mean_activation(model, edits.layer, facts)
    text = windows(model.tokenizer, read_table(smk.input.corpus, CORPUS), "perplexity", smk.params.tokens, smk.params.window)
    sampled = perplexity.sampled_cases(table, smk.params.edits, int(smk.wildcards.seed))
    rows = facts.index[facts["case_id"].isin(sampled)].tolist()
    cuts = perplexity.cut_windows(model, edits.layer, text)

    def states_of(group):
        return pruning.states_of(model, edits[[rows[i] for i in group]].alone, activation, smk.params.shares)

    source, progress = job.provenance(smk, model.info), job.Progress(len(rows), "edits")
    with Journal.beside(smk.output[0], [source, job.input_hashes(smk)]) as journal:
        nll = perplexity.nll_by_edit(model, cuts, text, states_of, len(rows), journal, progress)
        measured = perplexity.rows_of(facts["case_id"][rows], pruning.columns_of(smk.params.shares), nll)
        write_table(smk.output.perplexity, PRUNING_PERPLEXITY, perplexity.perplexity_table(measured, text), source)


job.run(globals(), main)
