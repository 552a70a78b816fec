"""Train a mask on the training edits, or on those that its plan chooses."""

import job
from model_job import Inputs
from onemask.io.files import write_table
from onemask.io.tensor_files import Checkpoint
from onemask.masking.masks import Mask, write_mask
from onemask.masking.schemas import MASK_TRAINING
from onemask.masking.selection import training_edits
from onemask.masking.settings import MaskSettings
from onemask.masking.training import train


def main(smk):
    inputs, plan, seed = Inputs(smk), smk.params.plan, int(smk.wildcards.seed)
    settings = MaskSettings(**smk.params.mask | plan["settings"])
    model, training = inputs.model, training_edits(inputs.facts, inputs.edits, settings, plan, smk.params.seed, seed)
    source, callback = job.provenance(smk, model.info), job.Progress(training.settings.epochs, "epochs")
    with Checkpoint.beside(smk.output.mask, [source, job.input_hashes(smk)]) as checkpoint:
        theta, keep, history = train(
            model, training.facts, training.edits, training.settings, seed, training.swapped, checkpoint, callback
        )
        write_table(smk.output.training, MASK_TRAINING, history, source)
        write_mask(smk.output.mask, Mask(training.edits.layer, keep, theta), source | {"edits": len(training.facts)})


job.run(globals(), main)
