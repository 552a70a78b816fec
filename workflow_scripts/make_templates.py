"""Sample the model's context templates."""

import job
from onemask.editors.schemas import TEMPLATES
from onemask.editors.templates import make_templates
from onemask.io.files import write_table
from onemask.model.models import load_model


def main(smk):
    model = load_model(smk.input.model, smk.params.device, smk.params.dtype)
    write_table(
        smk.output.templates,
        TEMPLATES,
        make_templates(model, smk.params.counts, smk.params.seed),
        job.provenance(smk, model.info),
    )


job.run(globals(), main)
