"""Sample the model's context templates."""

import job
from model_job import load
from onemask.editors.schemas import TEMPLATES
from onemask.editors.templates import make_templates
from onemask.io.files import write_table


def main(smk):
    model = load(smk)
    table = make_templates(model, smk.params.counts, smk.params.seed)
    write_table(smk.output.templates, TEMPLATES, table, job.provenance(smk, model.info))


job.run(globals(), main)
