"""What every script does first: threads, log, provenance, errors that a user can read. Here `snakemake` is known."""

import contextlib
import datetime
import logging
import os
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path

from onemask.io.errors import OnemaskError
from onemask.io.files import digest, installed_versions, sha256, writing
from onemask.io.progress import Progress
from onemask.io.streams import print_anywhere

__all__ = ["Progress", "digest", "input_hashes", "provenance", "run", "running"]


def provenance(smk, model_info: dict | None = None) -> dict:
    """Metadata for what a job writes: rule, hashes of its config and code, model, seed, package versions."""
    params = {key: value for key, value in smk.params.items() if key not in ("code", "caption")}  # a caption is no result
    return {
        "rule": smk.rule,
        "config_hash": digest(params),
        "code_hash": smk.params.get("code", ""),
        "model": model_info or {},
        "seed": smk.wildcards.get("seed", smk.params.get("seed")),
        "versions": installed_versions(),
    }


def input_hashes(smk) -> list[str]:
    """SHA-256 of every input file; folders are left out, since a model's hashes are in its provenance."""
    return [sha256(path) for path in smk.input if Path(path).is_file()]


def _open_log(path: str) -> None:
    """Log to a file and, warnings only, to standard error; OnemaskError when the file cannot be opened."""
    logging.raiseExceptions = False  # what a full disk cannot log must not hide the error that is printed
    warnings = logging.StreamHandler()
    warnings.setLevel(logging.WARNING)
    warnings.addFilter(lambda record: record.levelno < logging.ERROR)  # errors are printed in `running`
    logging.basicConfig(handlers=[warnings], format="%(asctime)s %(message)s", level=logging.INFO, force=True)
    with writing(path):
        file = logging.FileHandler(path, mode="w", encoding="utf-8", errors="backslashreplace")
    file.setFormatter(warnings.formatter)
    logging.getLogger().addHandler(file)


@contextlib.contextmanager
def running(smk, torch_threads: bool = True) -> Generator[None, None, None]:
    """Set threads and log; turn an OnemaskError into one line on standard error and in the log, and exit 1."""
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    if not sys.stderr.isatty():
        os.environ["TQDM_DISABLE"] = "1"
    started = time.monotonic()
    print_anywhere()
    try:
        _open_log(smk.log[0])
        if torch_threads:
            import torch
            from transformers.utils import logging as transformers_logging

            transformers_logging.disable_progress_bar()
            torch.set_num_threads(smk.threads)
        yield
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")  # an archive says when each job ended
        logging.info("done in %.1f s, at %s", time.monotonic() - started, now)
    except OnemaskError as error:
        logging.error("%s", error)
        print(f"onemask: {smk.rule}: {error}\n  (log: {smk.log[0]})", file=sys.stderr)
        sys.exit(1)
    except BaseException:
        logging.exception("failed")
        raise


def run(scope: dict, main: Callable, torch_threads: bool = True) -> None:
    """Call `main(snakemake)` where Snakemake runs the script; do nothing where a test imports it."""
    if "snakemake" in scope:
        with running(scope["snakemake"], torch_threads):
            main(scope["snakemake"])
