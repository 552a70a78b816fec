"""Make Snakemake's report of the finished tables and figures."""

import logging
import subprocess
import sys
from pathlib import Path

import job
from onemask.errors import OnemaskError
from onemask.files import read_table, replacing, write_text


def main(smk):
    claims = read_table(smk.input.claims, "claims")
    metadata = Path(smk.log[0]).with_suffix(".yaml")  # with any, the report's first page is the claims alone
    write_text(metadata, f"Claims: {len(claims)}\n")
    with replacing(smk.output.html) as temporary:
        # the report is of finished jobs only, so it may be made while the run that asks for it holds the lock
        command = [sys.executable, "-m", "snakemake", "--nolock", "--quiet", "--cores", "1"]
        command += ["--snakefile", smk.params.snakefile, "--configfile", smk.input.config]
        command += ["--report", str(temporary), "--report-stylesheet", smk.input.stylesheet]
        command += ["--report-metadata", str(metadata), "--", *smk.params.targets]
        run = subprocess.run(command, capture_output=True, text=True)
        logging.info("%s", run.stdout + run.stderr)
        if run.returncode:
            raise OnemaskError("Snakemake's report", f"exit status {run.returncode}", f"Read {smk.log[0]}.")


job.run(globals(), main, torch_threads=False)
