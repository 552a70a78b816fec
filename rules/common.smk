# The run, its folders, and helpers that only Snakemake needs; no rules. What follows from a run's file: onemask.config.run.
import dataclasses
import os
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.settings.types import DeploymentMethod

ROOT = Path(workflow.basedir)
SCRIPTS = ROOT / "workflow_scripts"
sys.path.insert(0, str(SCRIPTS))

from onemask.cluster.jobs import check_active_jobs
from onemask.config.captions import read_captions
from onemask.config.load import load_run, read_claims, use_mirror
from onemask.config.place import check_easyeditor, check_interpreter, check_pins
from onemask.config.run import moments_file
from onemask.data.splits import SPLITS
from onemask.editors import module_file
from onemask.io.codehash import code_hash
from onemask.io.errors import OnemaskError
from onemask.io.streams import print_anywhere
from onemask.masking.names import MAIN, of_edits, of_fold, of_share

print_anywhere()

try:
    check_interpreter(sys.executable)
    check_pins(ROOT / "envs")
    RUN, CLAIMS, CAPTIONS = load_run(config, ROOT), read_claims(ROOT), read_captions(ROOT)
    if RUN.editor == "easyeditor" and DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method:
        check_easyeditor(Path(workflow.deployment_settings.conda_prefix or "").absolute())
except OnemaskError as error:
    raise WorkflowError(f"onemask: {error}")

use_mirror(RUN.hub)
if slurm := sys.modules.get("snakemake_executor_plugin_slurm"):
    slurm.Executor.check_active_jobs = check_active_jobs  # by the plugin's own, runs wait for ever
EDITING_ENVIRONMENT = "../envs/easyeditor.yaml" if RUN.editor == "easyeditor" else "../envs/model.yaml"


# folders, in the order of the data: of what runs share, of the run, a model, a method, one of its masks, its main mask, its studies
pathvars:
    assets="results/assets",
    run=RUN.folder,
    model="<run>/{model}",
    method="<model>/{method}",
    mask="<method>/{mask}/seed{seed}",
    main=f"<method>/{MAIN}/seed{{seed}}",
    study="<method>/studies/seed{seed}",


def from_here(*parts):
    """A path of the clone, seen from the working directory: moved to another place, a finished run stays finished."""
    return os.path.relpath(ROOT.joinpath(*parts))


def code(script, *modules):
    """Hash of a script, of modules it loads by name, and of all project modules behind them: a change to one reruns the rule."""
    return code_hash(SCRIPTS / script, *(SCRIPTS / "onemask" / module for module in modules))


def editor_modules(method):
    """Files of the library that are loaded by name to edit with a method."""
    own = [module_file(RUN.base(method))]
    return own if RUN.editor == "onemask" else [*own, module_file("easyedit")]


def of_model(key):
    """A params function: what the file of the job's model says under a key."""
    return lambda wildcards: getattr(RUN.models[wildcards.model], key)


def by_method(answer):
    """A params function: what the run answers of the job's method."""
    return lambda wildcards: answer(wildcards.method)


def by_method_and_model(answer):
    """A params function: what the run answers of the job's method on its model."""
    return lambda wildcards: answer(wildcards.method, wildcards.model)


def source_of_model(wildcards):
    """A params function: what fetching the job's model depends on."""
    model = dataclasses.asdict(RUN.models[wildcards.model])
    return {key: model[key] for key in ("family", "shape", "source") if model[key] is not None}


def mask_plan(wildcards):
    """A params function: how the job's mask is trained and measured."""
    return dataclasses.asdict(RUN.mask_plan(wildcards.mask, wildcards.method))


def mask_states(wildcards):
    """A params function: in which states the job's mask is measured."""
    planned = RUN.masks[wildcards.mask]
    return {"state": planned.state, "random": planned.random, "controls": planned.controls}


def mask_columns(wildcards):
    """A params function: what sets the rows of the job's mask apart."""
    return RUN.masks[wildcards.mask].columns


def row_key(wildcards):
    """A params function: what all rows of the job's measures share."""
    return RUN.row_key(wildcards.model, wildcards.method)


def doubled_each_attempt(amount):
    """A resource (MB, minutes) that doubles with every retry."""
    return lambda wildcards, attempt: amount * 2 ** (attempt - 1)


def model_memory(more=0):
    """Main memory in MB of a job that loads its model, doubled with every retry."""
    return lambda wildcards, attempt: doubled_each_attempt(of_model("memory_mb")(wildcards) + more)(wildcards, attempt)
