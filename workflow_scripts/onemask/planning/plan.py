"""What a run will take before it runs: jobs by Snakemake, operations by `costs`, device memory by `memory`, and disk."""

import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from onemask.config.run import Run
from onemask.config.settings import Model, Perplexity
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


def facts_of(run: Run) -> dict[str, int]:
    """Number of facts in each split."""
    return {split: run.per_relation(split) * len(run.relations_of(split)) for split in run.splits}


def shape_of(name: str, model: Model) -> costs.Shape:
    """A model's sizes; OnemaskError when its file does not state them."""
    if model.shape is None:
        advice = "Add it; the checkpoint's config.json has the numbers."
        raise OnemaskError(f"the key shape in config/models/{name}.yaml", "none", advice)
    stated, empty = model.shape, meta_model(model)
    parts = (empty.blocks[0], empty.blocks[0].get_submodule(empty.family.mlp))
    block, mlp = (sum(parameter.numel() for parameter in part.parameters()) for part in parts)
    return costs.Shape(stated.layers, stated.d_model, stated.d_mlp, stated.vocabulary, block, mlp)


def operations(run: Run, model: str, method: str) -> dict[str, float]:
    """Operations of each stage of a method on a model; the studies are left out."""
    facts, shape, editing = facts_of(run), shape_of(model, run.models[model]), run.editing_of(method, model)
    if "templates" not in editing:
        raise OnemaskError("methods that optimise over templates, to plan", method, "Leave it out of methods for the plan.")
    joint, layer, texts = run.joint(method), run.edited_layers(method, model)[-1], costs.TEXTS[run.facts.dataset]
    train, test = (facts.get(split, 0) for split in (run.train_split(method), run.test_split(method)))
    edits = sum(facts[split] for split in run.splits_of(method))
    sampled = 0 if joint else min(test, run.perplexity.edits)
    looked_at = min(test, run.decomposition.facts or test)
    counts = {
        "edits": costs.edited(shape, layer, texts, edits, editing),
        "mask": len(run.mask_seeds) * costs.masked(shape, layer, texts, train, run.mask_settings(model, method)),
        "reversal": costs.scored(shape, layer, texts, edits, costs.STATES)
        + costs.scored(shape, layer, texts, test * run.neighborhood_prompts, costs.STATES, "neighbour"),
        "perplexity": costs.perplexity(shape, layer, run.perplexity.tokens, costs.STATES + costs.VARYING * max(sampled - 1, 0)),
        # in each of three states every block once, and a projection of its parts
        "looks": 9 * shape.through(shape.n_layers, looked_at * texts["prompt"]) + costs.patched(shape, layer, texts, looked_at),
    }
    if not joint:
        counts["blocking"] = costs.edited(shape, layer, texts, test, editing) + costs.scored(shape, layer, texts, test, 4)
        counts["pruning"] = 0.0
    if run.has_collapse(method):
        counts["perplexity"] += collapse_operations(shape, layer, run.perplexity, test)
    if run.has_pruning(method):
        states = len(run.pruning.shares) * PRUNED_STATES
        counts["pruning"] = costs.scored(shape, layer, texts, min(test, run.pruning.facts), states)
    return counts


def collapse_operations(shape: costs.Shape, layer: int, perplexity: Perplexity, edits: int) -> float:
    """Operations of table 6."""
    tokens, worst = perplexity.tokens, min(perplexity.worst, edits)
    searched = min(tokens, perplexity.search_tokens)
    again = min(CANDIDATES * worst, edits) if searched < tokens else 0
    whole = costs.perplexity(shape, layer, tokens, 1 + again + worst)
    return whole + costs.perplexity(shape, layer, searched, edits)


def shared_operations(run: Run, model: str) -> dict[str, Counter]:
    """Operations of what all methods share on a model, by the type in which they are done."""
    own, facts = run.models[model], sum(facts_of(run).values())
    shape, texts, tokens = shape_of(model, own), costs.TEXTS[run.facts.dataset], run.statistics.tokens
    measured, dtype = moments_of(run, model), own.dtype
    products = Counter({EXACT.get(dtype, dtype): sum(costs.outer_products(shape, len(layers), tokens) for layers in measured)})
    return {
        "knowledge": Counter({dtype: costs.scored(shape, shape.n_layers - 1, texts, facts, 1)}),
        "moments": products + Counter({dtype: sum(shape.through(layers[-1] + 1, tokens) for layers in measured)}),
    }


def moments_of(run: Run, model: str) -> list[tuple[int, ...]]:
    """Layers whose second moments are measured on a model, those together that one pass serves."""
    needed = {tuple(run.moment_layers(method, model)) for method in (*run.methods, *run.compare)}
    return sorted(needed - {()})


def disk(run: Run, model: str, method: str) -> dict[str, float]:
    """Bytes that each stage leaves behind."""
    shape, facts = shape_of(model, run.models[model]), facts_of(run)
    edits = sum(facts[split] for split in run.splits_of(method))
    factors = FLOAT32 * (shape.d_model + shape.d_mlp) * len(run.edited_layers(method, model))
    return {"edits": edits * factors, "mask": len(run.mask_seeds) * 2 * FLOAT32 * shape.d_model * shape.d_mlp}


def plan(run: Run, device: dict) -> pd.DataFrame:
    """A row a model, method and stage, with the columns of `Stage`. device: an entry of config/devices.yaml."""
    rows = []
    rate = {dtype: peak * device["achieved"] for dtype, peak in device["peak"].items()}
    for name, own in run.models.items():
        shape_of(name, own)  # raises where there is none
        network = meta_model(own)
        tops: dict[str, int] = {}
        for method in run.methods:
            editing, joint = run.editing_of(method, name), facts_of(run).get("joint_train", 0) if run.joint(method) else 0
            counted, left = operations(run, name, method), disk(run, name, method)
            tops = peaks(own, editing, own.mask.batch_tokens, run.perplexity, joint, run.facts.dataset)
            precision = {"edits": editing.get("precision", "float32"), "mask": own.mask.precision}
            precision["blocking"] = precision["edits"]
            for stage, count in counted.items():
                seconds = count / rate[lower(own.dtype, precision.get(stage))]
                rows.append(Stage(name, method, stage, count, seconds, tops[SAME_PEAK.get(stage, stage)], left.get(stage, 0)))
        passes = moments_of(run, name)
        tops["moments"] = max((moments_peak(network, len(layers), run.statistics.batch_tokens) for layers in passes), default=0)
        for stage, parts in shared_operations(run, name).items():
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
