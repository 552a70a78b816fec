"""Bring CounterFact's JSON, by URL or path, and check its hash."""

import shutil
from pathlib import Path

import job
from onemask.data.assets import check_hash, download_url
from onemask.io.files import replacing


def main(smk):
    with replacing(smk.output.records) as temporary:
        if "://" in smk.params.path:
            download_url(smk.params.path, smk.params.sha256, temporary)
        else:
            check_hash(Path(smk.params.path), smk.params.sha256, smk.params.path)
            shutil.copyfile(smk.params.path, temporary)


job.run(globals(), main, torch_threads=False)
