"""What TF32 does to edits, masks and perplexity (`dtype: tf32`), imitated on any machine, against float32.

    python benchmarks/tf32.py --run results/demo --facts 24

Needs a finished demo. TF32 keeps ten bits behind the point of what it multiplies, and adds in float32; here every operand of
every matrix product is so rounded. Edits and masks are made anew; all are scored in float32.
"""

import argparse
import contextlib
import math
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from onemask.config.load import load_run, read_yaml
from onemask.config.run import Run
from onemask.config.settings import Model as Settings
from onemask.data.corpus import windows
from onemask.data.schemas import CORPUS, FACTS
from onemask.editors.base import Task
from onemask.editors.run import edit
from onemask.editors.schemas import TEMPLATES
from onemask.editors.tables import join_facts, layer_edits, read_edits
from onemask.editors.templates import choose
from onemask.io.batching import Work
from onemask.io.files import read_table
from onemask.masking.masks import Mask, pruned_share, read_mask
from onemask.masking.settings import MaskSettings
from onemask.masking.training import train
from onemask.measuring.perplexity import measure
from onemask.measuring.reversal import reversal
from onemask.measuring.states import State
from onemask.model.edits import LayerEdits
from onemask.model.models import Model, load_model

ROOT = Path(__file__).resolve().parent.parent
PRODUCTS = {"mm", "bmm", "addmm", "baddbmm", "linear", "matmul"}
ATTENTION = "scaled_dot_product"


class Tf32(TorchDispatchMode):
    """Within it, matrix products round their float32 operands to TF32."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.__name__.split(".")[0]
        if name in PRODUCTS or ATTENTION in name:
            args = tuple(rounded(arg) for arg in args)
        return func(*args, **(kwargs or {}))


def rounded(value):
    """A float32 tensor rounded to ten bits behind the point, to the nearest and away from zero between; all else as it is."""
    if not isinstance(value, Tensor) or value.dtype != torch.float32:
        return value
    return ((value.view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)


def reversed_share(model: Model, facts: pd.DataFrame, edits: LayerEdits, keep: Tensor | None) -> float:
    """Share of facts with P(o) > P(o*)."""
    scores = reversal(model, facts, edits, [State("", edits.update, keep)], Work(4000))
    return float((scores["logp_true"] > scores["logp_new"]).mean())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=ROOT / "results" / "demo", help="folder of a finished demo")
    parser.add_argument("--facts", type=int, default=24, help="test facts edited anew, about")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    run = load_run(read_yaml(ROOT / "config" / "demo.yaml"), ROOT)
    own = run.models["smollm2-135m"]
    of_model = given.run / "smollm2-135m"
    model = load_model(given.run.parent / "assets" / "models" / "smollm2-135m")

    made = {split: read_edits(sorted((of_model / "rome" / "edits" / split).glob("*.parquet"))) for split in ("train", "test")}
    facts = {split: join_facts(read_table(given.run / "facts" / f"{split}.parquet", FACTS), made[split]) for split in made}
    edits = {split: layer_edits(made[split], model) for split in made}
    compare_edits(model, own, of_model, facts["test"].iloc[:: max(1, len(facts["test"]) // given.facts)])
    mask = read_mask(of_model / "rome" / "shared" / "seed0" / "mask.safetensors", model)
    compare_masks(model, own.mask, facts, edits, mask)
    compare_perplexity(model, run, given.run, made["test"], mask)


def compare_edits(model: Model, own: Settings, of_model: Path, facts: pd.DataFrame) -> None:
    chosen = own.editing["rome"]
    templates = choose(read_table(of_model / "templates.parquet", TEMPLATES), chosen["templates"])
    task = Task(model, facts.to_dict("records"), templates)
    updates = []
    for mode in (contextlib.nullcontext(), Tf32()):
        with mode:
            updates.append(LayerEdits(edit(task, "rome", chosen).layers[0]))
    there, here = ([each.update.dense(i).double() for i in range(len(facts))] for each in updates)
    apart = [float((a - b).norm() / a.norm()) for a, b in zip(there, here, strict=True)]
    unsuccessful = [reversed_share(model, facts, each, None) for each in updates]
    print(f"{len(facts)} edits: updates apart by {pd.Series(apart).median():.1e} (median), {max(apart):.1e} (largest)")
    print("success, float32 and TF32:", [round(1 - share, 3) for share in unsuccessful])


def compare_masks(model: Model, settings: MaskSettings, facts: dict, edits: dict, float32: Mask) -> None:
    masks = {"float32, seed 0": float32.keep}
    for name, mode, seed in (("TF32, seed 0", Tf32(), 0), ("float32, seed 1", contextlib.nullcontext(), 1)):
        with mode:
            masks[name] = train(model, facts["train"], edits["train"], settings, seed)[1]
    for name, keep in masks.items():
        both = ~keep & ~float32.keep
        shared = float(both.sum() / (~keep | ~float32.keep).sum())
        rsr = reversed_share(model, facts["test"], edits["test"], keep)
        print(f"mask, {name}: {pruned_share(keep):.4f} pruned, {shared:.3f} of what either removes shared, test RSR {rsr:.3f}")


def compare_perplexity(model: Model, run: Run, results: Path, table: pd.DataFrame, mask: Mask) -> None:
    corpus = read_table(results.parent / "assets" / "corpora" / f"{run.corpora.perplexity}.parquet", CORPUS)
    text = windows(model.tokenizer, corpus, "perplexity", run.perplexity.tokens, run.perplexity.window)
    one = table[table["case_id"] == table["case_id"].iloc[0]]
    edits = layer_edits(one, model)
    states = [State("original"), State("edited", edits.update), State("masked", edits.update, mask.keep)]
    found = []
    for mode in (contextlib.nullcontext(), Tf32()):
        with mode:
            found.append(measure(model, text, one["case_id"].unique(), edits, states).groupby("state")["nll"].mean())
    print("perplexity, TF32 by float32, less one:", (found[1] - found[0]).map(math.expm1).map("{:.1e}".format).to_dict())


if __name__ == "__main__":
    main()
