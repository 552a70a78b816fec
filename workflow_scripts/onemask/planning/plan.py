"""What a run will take before it runs: jobs by Snakemake, operations by `costs`, device memory by `memory`, and disk."""

import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from onemask.config.load import moment_layers
from onemask.io.errors import OnemaskError
from onemask.measuring.perplexity import CANDIDATES
from onemask.planning import costs
from onemask.planning.memory import FLOAT32, meta_model, moments_peak, peaks, weights

# rules whose jobs run a model, by stage
STAGES = {
    "knowledge": ("measure_knowledge",),
    "moments": ("measure_second_moments",),
    "edits": ("edit_facts",),
    "mask": ("train_mask",),
    "reversal": ("measure_reversal", "measure_neighborhood"),
    "perplexity": ("measure_perplexity", "measure_collapse"),
    "blocking": ("measure_blocking",),
    "looks": ("measure_decomposition", "measure_activations", "measure_attention", "measure_patching"),
    "pruning": ("measure_pruning",),
}
SAME_PEAK = {"knowledge": "reversal", "blocking": "edits", "looks": "reversal", "pruning": "reversal"}
PRUNED_STATES = 8  # a share: four criteria, two fills
EXACT = {"bfloat16": "tf32", "float16": "tf32"}  # in which a type's products are exact: those of keys with keys


@dataclass(frozen=True)
class Stage:
    """What one stage takes for a model and method ("" for what methods share). peak, disk: bytes."""

    model: str
    method: str
    stage: str
    operations: float
    seconds: float
    peak: float
    disk: float


def facts_of(settings: dict) -> dict[str, int]:
    """Number of facts in each split."""
    facts, many = settings["facts"], len(settings["facts"]["relations"])
    counts = facts["per_relation"]
    if facts["splits"] == "released":
        used = {"train": 300, "test": 170, "memit_train": 100, "memit_test": 100}
        counts = used | counts
    other = len(facts["ood_relations"])
    return {name: count * (other if name == "ood" else many) for name, count in counts.items()}


def shape_of(name: str, settings: dict) -> costs.Shape:
    """A model's sizes; OnemaskError when its file does not state them."""
    if "shape" not in settings:
        advice = "Add it; the checkpoint's config.json has the numbers."
        raise OnemaskError(f"the key shape in config/models/{name}.yaml", "none", advice)
    stated, model = settings["shape"], meta_model(settings)
    parts = (model.blocks[0], model.blocks[0].get_submodule(model.family.mlp))
    block, mlp = (sum(parameter.numel() for parameter in part.parameters()) for part in parts)
    return costs.Shape(stated["layers"], stated["d_model"], stated["d_mlp"], stated["vocabulary"], block, mlp)


def operations(settings: dict, model: str, method: str) -> dict[str, float]:
    """Operations of each stage of a method on a model; the studies are left out."""
    own, facts = settings["model_settings"][model], facts_of(settings)
    shape, editing = shape_of(model, own), own["editing"][method]
    if "templates" not in editing:
        raise OnemaskError("methods that optimise over templates, to plan", method, "Leave it out of methods for the plan.")
    joint = settings["method_entries"][method]["together"]
    layer = editing.get("layer", editing.get("layers", [0])[-1])
    texts = costs.TEXTS[settings["facts"]["dataset"]]
    train, test = (facts.get(("memit_" if joint else "") + split, 0) for split in ("train", "test"))
    ood = 0 if joint else facts.get("ood", 0)
    mask = own["mask"] | settings["mask_by_method"].get(method, {})
    windows, sampled = settings["perplexity"], 0 if joint else min(test, settings["perplexity"]["edits"])
    looked_at = min(test, settings["decomposition"]["facts"] or test)
    counts = {
        "edits": costs.edited(shape, layer, texts, train + test + ood, editing),
        "mask": len(settings["mask_seeds"]) * costs.masked(shape, layer, texts, train, mask),
        "reversal": costs.scored(shape, layer, texts, train + test + ood, costs.STATES)
        + costs.scored(shape, layer, texts, test * settings["neighborhood_prompts"], costs.STATES, "neighbour"),
        "perplexity": costs.perplexity(shape, layer, windows["tokens"], costs.STATES + costs.VARYING * max(sampled - 1, 0)),
        # in each of three states every block once, and a projection of its parts
        "looks": 9 * shape.through(shape.n_layers, looked_at * texts["prompt"]) + costs.patched(shape, layer, texts, looked_at),
    }
    if not joint:
        counts["blocking"] = costs.edited(shape, layer, texts, test, editing) + costs.scored(shape, layer, texts, test, 4)
        if windows["worst"]:
            counts["perplexity"] += collapse_operations(shape, layer, windows, test)
        pruned = len(settings["pruning"]["shares"]) * PRUNED_STATES
        counts["pruning"] = costs.scored(shape, layer, texts, min(test, settings["pruning"]["facts"]), pruned) if pruned else 0.0
    return counts


def collapse_operations(shape: costs.Shape, layer: int, windows: dict, edits: int) -> float:
    """Operations of table 6. windows: the settings of perplexity."""
    tokens, searched, worst = windows["tokens"], min(windows["tokens"], windows["search_tokens"]), min(windows["worst"], edits)
    again = min(CANDIDATES * worst, edits) if searched < tokens else 0
    whole = costs.perplexity(shape, layer, tokens, 1 + again + worst)
    return whole + costs.perplexity(shape, layer, searched, edits)


def shared_operations(settings: dict, model: str) -> dict[str, Counter]:
    """Operations of what all methods share on a model, by the type in which they are done."""
    own, facts = settings["model_settings"][model], sum(facts_of(settings).values())
    shape, texts, tokens = shape_of(model, own), costs.TEXTS[settings["facts"]["dataset"]], settings["statistics"]["tokens"]
    measured, dtype = moments_of(settings, model), own["dtype"]
    products = Counter({EXACT.get(dtype, dtype): sum(costs.outer_products(shape, len(layers), tokens) for layers in measured)})
    return {
        "knowledge": Counter({dtype: costs.scored(shape, shape.n_layers - 1, texts, facts, 1)}),
        "moments": products + Counter({dtype: sum(shape.through(layers[-1] + 1, tokens) for layers in measured)}),
    }


def moments_of(settings: dict, model: str) -> list[tuple[int, ...]]:
    """Layers whose second moments are measured on a model, those together that one pass serves."""
    editing, entries = settings["model_settings"][model]["editing"], settings["method_entries"]
    layers = {tuple(moment_layers(entries[name], editing[name])) for name in (*settings["methods"], *settings["compare"])}
    return sorted(layers - {()})


def disk(settings: dict, model: str, method: str) -> dict[str, float]:
    """Bytes that each stage leaves behind."""
    own = settings["model_settings"][model]
    shape, editing = shape_of(model, own), own["editing"][method]
    joint = settings["method_entries"][method]["together"]
    edits = sum(count for split, count in facts_of(settings).items() if split.startswith("memit") == joint)
    factors = FLOAT32 * (shape.d_model + shape.d_mlp) * len(editing.get("layers", [0]))
    return {"edits": edits * factors, "mask": len(settings["mask_seeds"]) * 2 * FLOAT32 * shape.d_model * shape.d_mlp}


def plan(settings: dict, device: dict) -> pd.DataFrame:
    """A row a model, method and stage, with the columns of `Stage`. device: an entry of config/devices.yaml."""
    rows = []
    windows = {**settings["perplexity"], "perplexity": settings["perplexity"]["window"]}
    for name, own in settings["model_settings"].items():
        network, facts = meta_model(own), facts_of(settings)
        rate = {dtype: peak * device["achieved"] for dtype, peak in device["peak"].items()}
        tops: dict[str, int] = {}
        for method in settings["methods"]:
            joint = facts.get("memit_train", 0) if settings["method_entries"][method]["together"] else 0
            batch, dataset = own["mask"]["batch_tokens"], settings["facts"]["dataset"]
            counted = operations(settings, name, method)
            tops = peaks(own, own["editing"][method], batch, windows, joint, dataset)
            precision = {"edits": own["editing"][method].get("precision", "float32"), "mask": own["mask"]["precision"]}
            precision["blocking"], left = precision["edits"], disk(settings, name, method)
            for stage, count in counted.items():
                seconds = count / rate[lower(own["dtype"], precision.get(stage))]
                rows.append(Stage(name, method, stage, count, seconds, tops[SAME_PEAK.get(stage, stage)], left.get(stage, 0)))
        passes, statistics = moments_of(settings, name), settings["statistics"]["batch_tokens"]
        tops["moments"] = max((moments_peak(network, len(layers), statistics) for layers in passes), default=0)
        for stage, parts in shared_operations(settings, name).items():
            kept = FLOAT32 * network.d_mlp**2 * sum(map(len, passes)) if stage == "moments" else 0
            seconds = sum(count / rate[dtype] for dtype, count in parts.items())
            rows.append(Stage(name, "", stage, parts.total(), seconds, tops[SAME_PEAK.get(stage, stage)], kept))
        rows.append(Stage(name, "", "checkpoint", 0, 0, 0, weights(network)))
    return pd.DataFrame(rows)


def lower(dtype: str, precision: str | None) -> str:
    """The type in which a stage multiplies: its own precision, where that is lower than the model's."""
    return "bfloat16" if precision == "bfloat16" else dtype


def jobs(root: Path, config: list[str]) -> Counter:
    """Jobs of each rule that a run has to do, from Snakemake's dry run."""
    command = [sys.executable, "-m", "snakemake", "-n", "--forceall", "--quiet", "rules", "--configfile", *config]
    run = subprocess.run(command, cwd=root, capture_output=True, text=True)
    if run.returncode:
        found = (run.stderr.strip().splitlines() or ["no message"])[-1]
        raise OnemaskError(f"a dry run of {' '.join(config)}", found, "Correct the configuration.")
    return Counter({rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", run.stdout + run.stderr, re.MULTILINE)})


def measured(results: Path, model: str, method: str, stage: str) -> float | None:
    """Seconds that a stage's jobs took, from Snakemake's benchmarks; None where it has not been run.

    results: the folder of a run. method: "" for what methods share.
    """
    folder = results / model / method
    logs = [log for rule in STAGES.get(stage, ()) for log in folder.glob(f"**/benchmarks/{rule}*/**/*.tsv")]
    logs += [log for rule in STAGES.get(stage, ()) for log in folder.glob(f"**/benchmarks/{rule}.tsv")]
    if not logs:
        return None
    return sum(float(pd.read_csv(log, sep="\t")["s"].iloc[0]) for log in logs)
