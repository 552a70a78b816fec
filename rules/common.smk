# Configuration, names and helpers that all rules share; no rules.
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

ROOT = Path(workflow.basedir)
SCRIPTS = ROOT / "workflow_scripts"
sys.path.insert(0, str(SCRIPTS))

from onemask.codehash import code_hash
from onemask.config import load_run
from onemask.errors import OnemaskError

try:
    SETTINGS = load_run(config, ROOT)
except OnemaskError as error:
    raise WorkflowError(f"onemask: {error}")

RUN = f"results/{SETTINGS['run']}"
ASSETS = "results/assets"
MODELS = SETTINGS["models"]
METHODS = SETTINGS["methods"]
SEEDS = SETTINGS["mask_seeds"]
FACTS = SETTINGS["facts"]
MODEL_FOLDERS = [f"{RUN}/{model}" for model in MODELS]
EDITED_LAYERS = [SETTINGS["model_settings"][model]["rome"]["layer"] for model in MODELS]
REPORT = f"{RUN}/report.html"

if FACTS["splits"] == "released":
    SPLITS = ["train", "test", "memit_train", "memit_test"]
else:
    SPLITS = [name for name in ("train", "test", "ood", "memit_train", "memit_test") if FACTS["per_relation"].get(name)]
ROME_SPLITS = [name for name in SPLITS if not name.startswith("memit")]


wildcard_constraints:
    model="|".join(MODELS),
    method="|".join(METHODS),
    split="|".join(SPLITS),
    seed=r"\d+",
    layer=r"\d+",
    relation=r"P\d+",


def code(script, *modules):
    """Hash of a script and of all project modules behind it, so that a change to them (and only to them) reruns the rule."""
    return code_hash(SCRIPTS / script, *(SCRIPTS / "onemask" / module for module in modules))


def setting(part, key=None):
    """A params function: a part (and key) of the settings of the job's model."""

    def of_model(wildcards):
        value = SETTINGS["model_settings"][wildcards.model][part]
        return value if key is None else value[key]

    return of_model


def relations_of(split):
    return FACTS["ood_relations"] if split == "ood" else FACTS["relations"]


def edit_chunks(split):
    """An input function: all chunks of edits of a split."""

    def chunks(wildcards):
        at = f"{RUN}/{wildcards.model}/{wildcards.method}/edits/{split or wildcards.split}"
        return [f"{at}/{relation}.parquet" for relation in relations_of(split or wildcards.split)]

    return chunks


def larger_each_attempt(mb):
    """Memory in MB that doubles with every retry."""
    return lambda wildcards, attempt: mb * 2 ** (attempt - 1)
