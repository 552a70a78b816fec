"""Train a mask on the training edits, or on those that its plan chooses."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import job
from onemask.data.schemas import FACTS
from onemask.editors.tables import join_facts, layer_edits, read_edits
from onemask.io.files import read_table, sha256, write_table
from onemask.masking import training as mask_training
from onemask.masking.masks import Mask, pruned_share, write_mask
from onemask.masking.schemas import MASK_TRAINING
from onemask.masking.selection import choose
from onemask.masking.settings import MaskSettings
from onemask.model.models import load_model


def main(smk):
    model = load_model(smk.input.model, smk.params.device, smk.params.dtype)
    seed, plan = int(smk.wildcards.seed), smk.params.plan
    settings = MaskSettings(**smk.params.mask | plan["settings"])
    table = read_edits(smk.input.edits)
    every = join_facts(read_table(smk.input.facts, FACTS), table)
    rows = choose(every, plan["left_out"], plan["training_edits"], smk.params.seed)
    # chosen after the edits are made of the whole table: edits made together are one, whatever facts the mask learns from
    facts, edits = every.iloc[rows].reset_index(drop=True), layer_edits(table, model)[torch.from_numpy(rows)]
    if plan["training_edits"]:
        settings = replace(settings, epochs=round(settings.epochs * len(every) / len(facts)))
    swapped = np.random.default_rng(seed).random(len(facts)) < 0.5 if plan["shuffled"] else None
    meter = job.Progress(settings.epochs, "epochs")

    def told(row):
        meter(row["epoch"] + 1)
        logging.info("%s", row)

    source = job.provenance(smk, model.info)
    checkpoint = Path(smk.output.mask + ".checkpoint")
    theta, keep, history = mask_training.train(
        model,
        facts,
        edits,
        settings,
        seed,
        swapped,
        checkpoint,
        job.digest([source, *(sha256(path) for path in (smk.input.facts, *smk.input.edits))]),
        told,
    )
    if pruned_share(keep) in (0.0, 1.0):
        logging.warning("the mask prunes %s of the matrix: choose another gamma", pruned_share(keep))
    write_table(smk.output.training, MASK_TRAINING, history, source)
    write_mask(smk.output.mask, Mask(edits.layer, keep, theta), source | {"edits": len(facts)})
    checkpoint.unlink(missing_ok=True)


job.run(globals(), main)
