"""Fetch a corpus and write its documents."""

import job
from onemask.data.corpus import fetch_corpus
from onemask.data.schemas import CORPUS
from onemask.io.files import write_table


def main(smk):
    write_table(smk.output.corpus, CORPUS, fetch_corpus(smk.params.source), job.provenance(smk))


job.run(globals(), main, torch_threads=False)
