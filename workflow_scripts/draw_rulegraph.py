"""Draw which rule follows on which, as SVG, by Graphviz; arrows that follow from others are left out."""

import logging
import subprocess
import sys

import job
from onemask.io.errors import OnemaskError
from onemask.io.files import write_text


def piped(command, text):
    """What a command makes of a text."""
    try:
        return subprocess.run(command, input=text, check=True, capture_output=True, text=True).stdout
    except FileNotFoundError as error:
        raise OnemaskError("Graphviz", f"no {command[0]}", "Install it (Debian: graphviz).") from error
    except subprocess.CalledProcessError as error:
        logging.info("%s", error.stderr)
        raise OnemaskError(f"a graph from {command[0]}", f"exit status {error.returncode}", "Read the log.") from error


def main(smk):
    snakemake = [sys.executable, "-m", "snakemake", "--nolock", "--snakefile", smk.params.snakefile]
    graph = piped([*snakemake, "--configfile", *smk.params.configs, "--rulegraph", "dot"], "")
    write_text(smk.output.svg, piped(["dot", "-Tsvg"], piped(["tred"], graph)))


job.run(globals(), main, torch_threads=False)
