"""Pruning without training, on each test edit: reversal, and perplexity on a few edits."""

import pandas as pd

import job
from onemask import perplexity, pruning
from onemask.corpus import windows
from onemask.cut_store import cut_texts
from onemask.edit_tables import join_facts, layer_edits, read_edits
from onemask.files import read_table, write_table
from onemask.models import load_model
from onemask.reversal import reversal
from onemask.tokens import encode


def main(smk):
    model = load_model(smk.input.model, smk.params.device, smk.params.dtype)
    table = read_edits(smk.input.edits)
    facts, edits = join_facts(read_table(smk.input.facts, "facts"), table), layer_edits(table, model)
    prompts = [encode(model.tokenizer, fact.prompt.replace("{}", fact.subject)) for fact in facts.itertuples()]
    activation = pruning.mean_activation(cut_texts(model, edits.layer, prompts).keys)
    text = windows(model.tokenizer, read_table(smk.input.corpus, "corpus"), "perplexity", smk.params.tokens, smk.params.window)
    sampled = perplexity.sampled_cases(table, smk.params.edits, int(smk.wildcards.seed))
    meter, scored, measured = job.Progress(len(facts), "edits"), [], []
    for i in range(len(facts)):
        fact, edit = facts.iloc[[i]], edits[[i]]
        states = pruning.states_of(model, edit.update, activation, smk.params.shares)
        scored.append(reversal(model, fact, edit, states, smk.params.batch_tokens))
        if facts["case_id"].iloc[i] in sampled:
            measured.append(perplexity.measure(model, text, fact, edit, states))
        meter(i + 1)
    source = job.provenance(smk, model.info)
    write_table(smk.output.reversal, "reversal", pd.concat(scored), source)
    write_table(smk.output.perplexity, "perplexity", pd.concat(measured), source)


job.run(globals(), main)
