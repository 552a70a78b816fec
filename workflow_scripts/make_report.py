"""Write the figures' captions, and make Snakemake's report of the finished tables and figures."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import job
from onemask.io.errors import OnemaskError
from onemask.io.files import read_table, replacing, write_text
from onemask.summaries.captions import figure_caption
from onemask.summaries.schemas import CLAIMS


def caption(name, text, record):
    """A figure's caption; record: what `draw_figure.py` wrote beside the figure."""
    params = record["params"]
    released = params["as_released"] and "decomposition" in record["input"]
    splits = sorted({row["split"] for row in params["rows"]})
    return figure_caption(name, text, record["samples"], splits, params["seed"], released)


def main(smk):
    for (name, text), path in zip(smk.params.captions.items(), smk.output.captions, strict=True):
        record = json.loads(Path(path).with_suffix(".json").read_text(encoding="utf-8"))
        write_text(path, caption(name, text, record))
    claims = read_table(smk.input.claims, CLAIMS)
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
