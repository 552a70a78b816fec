# Configuration, names and helpers that all rules share; no rules.
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

ROOT = Path(workflow.basedir)
SCRIPTS = ROOT / "workflow_scripts"
sys.path.insert(0, str(SCRIPTS))

from onemask.io.codehash import code_hash
from onemask.config.load import largest_template_counts, load_run, moments_file, use_mirror
from onemask.config.load import moment_layers as layers_with_moments
from onemask.io.errors import OnemaskError
from onemask.masking.names import MAIN, names, of_share, plan

try:
    SETTINGS = load_run(config, ROOT)
except OnemaskError as error:
    raise WorkflowError(f"onemask: {error}")

use_mirror(SETTINGS["hub"])
RUN = f"results/{SETTINGS['run']}"
ASSETS = "results/assets"
MODELS = SETTINGS["models"]
METHODS = SETTINGS["methods"]
COMPARED = SETTINGS["compare"]
METHOD_ENTRIES = SETTINGS["method_entries"]
STUDIES = SETTINGS["studies"]
SEEDS = SETTINGS["mask_seeds"]
FACTS = SETTINGS["facts"]
CLAIMS = SETTINGS["claims"]
MODEL_FOLDERS = [f"{RUN}/{model}" for model in MODELS]
REPORT = f"{RUN}/report.html"
EDITING_ENVIRONMENT = "../envs/easyeditor.yaml" if SETTINGS["editor"] == "easyeditor" else "../envs/model.yaml"

if FACTS["splits"] == "released":
    SPLITS = ["train", "test", "memit_train", "memit_test"]
else:
    SPLITS = [name for name in ("train", "test", "ood", "memit_train", "memit_test") if FACTS["per_relation"].get(name)]
ALONE_SPLITS = [name for name in SPLITS if not name.startswith("memit")]
TOGETHER_SPLITS = [name for name in SPLITS if name.startswith("memit")]

# the first method in each of the layers that studies.layers compares, as a method of its own
LAYER_METHODS = {layer: f"{METHODS[0]}-layer{layer}" for layer in STUDIES["layers"]}


def parametrisation(model):
    return SETTINGS["model_settings"][model]["mask"]["parametrisation"]


def study_masks(shares):
    """Names of the masks of the run's own parametrisation at some shares, one list of all models'."""
    return sorted({of_share(parametrisation(model), share) for model in MODELS for share in shares})


MASKS = list(dict.fromkeys(name for model in MODELS for name in names(STUDIES, parametrisation(model))))
LAYER_MASKS = study_masks([STUDIES["layers_share"]])


wildcard_constraints:
    model="|".join(MODELS),
    method="|".join([*METHODS, *COMPARED, *LAYER_METHODS.values()]),
    mask="|".join(dict.fromkeys([*MASKS, *LAYER_MASKS])),
    split="|".join(SPLITS),
    seed=r"\d+",
    layers=r"\d+(-\d+)*",
    chunk=r"P\d+|all",


def base(method):
    """The editing method behind a name, which may be that of a layer study."""
    return METHODS[0] if method in LAYER_METHODS.values() else method


def together(method):
    """Does the method make one edit of all facts?"""
    return METHOD_ENTRIES[base(method)]["together"]


def splits_of(method):
    """Splits of the facts that a method edits."""
    return TOGETHER_SPLITS if together(method) else ALONE_SPLITS


def train_split(method):
    return "memit_train" if together(method) else "train"


def test_split(method):
    return "memit_test" if together(method) else "test"


def mask_plan(wildcards):
    """How the job's mask is trained and measured."""
    found = plan(wildcards.mask, STUDIES, FACTS["relations"])
    found["settings"] = SETTINGS["mask_by_method"].get(base(wildcards.method), {}) | found["settings"]
    kind = "layers" if wildcards.method in LAYER_METHODS.values() else "transfer" if wildcards.method in COMPARED else None
    if kind and STUDIES[f"{kind}_epochs"]:
        found["settings"]["epochs"] = STUDIES[f"{kind}_epochs"]
    return found


def code(script, *modules):
    """Hash of a script, of modules it loads by name, and of all project modules behind them: a change to one reruns the rule."""
    return code_hash(SCRIPTS / script, *(SCRIPTS / "onemask" / module for module in modules))


def setting(part):
    """A params function: a part of the settings of the job's model."""
    return lambda wildcards: SETTINGS["model_settings"][wildcards.model][part]


def source_of_model(wildcards):
    """What fetching the job's model depends on."""
    settings = SETTINGS["model_settings"][wildcards.model]
    return {key: settings[key] for key in ("family", "shape", "source") if key in settings}


def editing_of(method, model):
    """Settings of a method on a model."""
    settings = SETTINGS["model_settings"][model]["editing"][base(method)]
    layer = {name: layer for layer, name in LAYER_METHODS.items()}.get(method)
    return settings if layer is None else settings | {"layer": layer}


def editing(wildcards):
    """Settings of the job's method on its model."""
    return editing_of(wildcards.method, wildcards.model)


def template_counts(wildcards):
    """Templates that serve every method on the job's model."""
    return largest_template_counts([method.get("templates", []) for method in setting("editing")(wildcards).values()])


def editor_modules(method):
    """Files of the library that are loaded by name to edit with a method."""
    own = [f"editors/{method.replace('-', '_')}.py"]
    return own if SETTINGS["editor"] == "onemask" else [*own, "editors/easyedit.py"]


def moment_layers(wildcards):
    """Layers whose second moments the job's method needs."""
    return layers_with_moments(METHOD_ENTRIES[base(wildcards.method)], editing(wildcards))


def moments(wildcards):
    """Input function: the file of the second moments of `moment_layers`, measured in one pass; none where there are none."""
    layers = moment_layers(wildcards)
    return [f"{RUN}/{wildcards.model}/second_moments/{moments_file(layers)}"] if layers else []


def relations_of(split):
    return FACTS["ood_relations"] if split == "ood" else FACTS["relations"]


def chunks_of(method, split):
    """Chunks of a split's edits: its relations, or one where all facts are edited at once or few are edited."""
    return relations_of(split) if method in METHODS and not together(method) else ["all"]


def facts_limit(wildcards):
    """Facts a relation that the job's method edits at most, None for all."""
    if wildcards.method in METHODS:
        return None
    if wildcards.method in COMPARED:
        return STUDIES["transfer_per_relation"] if wildcards.split.endswith("train") else SETTINGS["compare_per_relation"]
    return STUDIES["layers_per_relation"]


def edit_chunks(split):
    """An input function: all chunks of edits of a split."""

    def chunks(wildcards):
        name = split or wildcards.split
        at = f"{RUN}/{wildcards.model}/{wildcards.method}/edits/{name}"
        return [f"{at}/{chunk}.parquet" for chunk in chunks_of(wildcards.method, name)]

    return chunks


def splits_edited(method):
    """Splits whose edits the table of editors shows: all of a masked method's, the test split of a compared one's."""
    return splits_of(method) if method in METHODS else [test_split(method)]


def test_facts(wildcards):
    """Input function: the test facts of the job's method."""
    return f"{RUN}/facts/{test_split(wildcards.method)}.parquet"


def test_edits(wildcards):
    """Input function: the test edits of the job's method."""
    return edit_chunks(test_split(wildcards.method))(wildcards)


def doubled_each_attempt(amount):
    """A resource (MB, minutes) that doubles with every retry."""
    return lambda wildcards, attempt: amount * 2 ** (attempt - 1)


def model_memory(more=0):
    """Main memory in MB of a job that loads its model, doubled with every retry."""
    return lambda wildcards, attempt: doubled_each_attempt(setting("memory_mb")(wildcards) + more)(wildcards, attempt)
