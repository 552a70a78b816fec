"""How long the mask's training takes: ours and the plain loop over records (tests/dense_mask_training.py), step by step in turns.

    python benchmarks/masking.py --epochs 3                          # real edits of the demo, both on the same batches
    python benchmarks/masking.py --epochs 3 --one-by-one             # the loop as the release runs it, text by text
    python benchmarks/masking.py --shape gpt2-xl --device cuda --dtype bfloat16 --edits-used 300 --batch-edits 50

The loop is given more than the release has: a record's three texts run as one padded batch, the unedited model's logits and the
dense updates are made once before the clock starts, and the head sees last positions only. Ours is timed apart from its
preparation, which is printed. CPU-seconds of this process on a CPU, seconds on a GPU.
"""

import argparse
import dataclasses
import glob
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
import yaml
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "benchmarks")]

from editing import clock, gemm_peak, shaped

import dense_mask_training as dense
from onemask.data.schemas import FACTS
from onemask.editors.tables import join_facts, layer_edits, read_edits
from onemask.io.errors import OnemaskError
from onemask.io.files import read_table
from onemask.masking import training as mask_training
from onemask.masking.masks import pruned_share
from onemask.masking.parametrisations import hard_mask
from onemask.masking.settings import MaskSettings, Schedule, schedule
from onemask.model.edits import FactoredEdits, LayerEdits
from onemask.model.models import Model, load_model
from onemask.model.scoring import probe, score

DEMO = ROOT / "results" / "demo"
PAPER = {"edits": 3000, "epochs": 300}


def demo_settings(model: Model, given: argparse.Namespace) -> MaskSettings:
    """The demo's mask settings for this model; the parametrisation is the paper's, the only one that the loop has."""
    merged = {"gamma": 0.5}  # of a model without a file
    for name in ("defaults.yaml", f"models/{model.info.get('name', '')}.yaml", "demo.yaml"):
        file = ROOT / "config" / name
        merged |= yaml.safe_load(file.read_text(encoding="utf-8")).get("mask") or {} if file.is_file() else {}
    merged |= {"parametrisation": "sigmoid", "epochs": given.epochs}
    merged |= {"precision": "bfloat16" if given.dtype == "bfloat16" else merged["precision"]}
    asked = {"batch_edits": given.batch_edits, "batch_tokens": given.batch_tokens, "lr": given.lr}
    return MaskSettings(**merged | {name: value for name, value in asked.items() if value is not None})


class Ours:
    """onemask.masking.training, a step at a time."""

    def __init__(self, model: Model, facts: pd.DataFrame, edits: LayerEdits, settings: MaskSettings, seed: int):
        start = clock(model)
        self.model, self.edits, self.settings = model, edits, settings
        self.texts = mask_training.prepare(model, edits, facts, settings)
        self.preparing = clock(model) - start
        self.state = mask_training.new_state(model, settings, seed)
        self.owners = self.texts.edit.cpu()

    @property
    def theta(self) -> Tensor:
        return self.state.theta.detach()

    def step(self, chosen: list[int], now: Schedule) -> float:
        rows = torch.isin(self.owners, torch.tensor(chosen)).nonzero()[:, 0]
        noise = torch.Generator(self.model.device)
        found = mask_training.step(self.model, self.texts, rows, self.edits.update, self.settings, now, self.state, noise)
        return found["loss"]


class Loop:
    """The plain trainer, a step at a time; `preparing` is what the release computes in each step anew."""

    def __init__(self, model: Model, facts: pd.DataFrame, edits: LayerEdits, settings: MaskSettings, seed: int, padded: bool):
        start = clock(model)
        self.records = dense.make_records(model, facts, edits.update)
        self.preparing = clock(model) - start
        theta = mask_training.new_state(model, settings, seed).theta
        self.trainer = dense.Trainer(model, edits.layer, settings, theta, padded)

    @property
    def theta(self) -> Tensor:
        return self.trainer.theta.detach()

    def step(self, chosen: list[int], now: Schedule) -> float:
        return self.trainer.step([self.records[i] for i in chosen], now)


def alternate(model: Model, trainers: dict[str, Ours | Loop], count: int, settings: MaskSettings, seed: int) -> pd.DataFrame:
    """Train all on the same batches, a step each in turns: a row is a trainer's step."""
    generator, rows = torch.Generator().manual_seed(seed), []
    for epoch in range(settings.epochs):
        now = schedule(settings, epoch / max(1, settings.epochs - 1))
        for number, chosen in enumerate(torch.randperm(count, generator=generator).split(settings.batch_edits)):
            names = list(trainers) if number % 2 == 0 else list(reversed(trainers))
            for name in names:
                start = clock(model)
                loss = trainers[name].step(chosen.tolist(), now)
                rows.append({"epoch": epoch, "step": number, "trainer": name, "loss": loss, "seconds": clock(model) - start})
            print(".", end="", flush=True)
    print()
    return pd.DataFrame(rows)


def flops_of(step: Callable[[], float]) -> int:
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def summary(name: str, trainer: Ours | Loop, seconds: pd.Series, peak: float, flops: int, settings: MaskSettings) -> dict:
    """A row of the table; the first step, which warms up, is left out of a step's seconds where there are others."""
    step = float((seconds.iloc[1:] if len(seconds) > 1 else seconds).median())
    return {
        "trainer": name, "preparing, s": trainer.preparing, "seconds a step": step,
        "seconds an epoch": float(seconds.sum()) / settings.epochs, "TFLOP a step": flops / 1e12,
        "share of GEMM peak": flops / step / peak,
    }  # fmt: skip


def test_rsr(model: Model, facts: pd.DataFrame, edits: LayerEdits, keep: Tensor) -> float:
    """Share of held-out edits that the mask reverses, P(o) > P(o*)."""
    scores = score(model, probe(model, edits.layer, facts), edits.update, keep)
    return float((scores.logp_true > scores.logp_new).double().mean())


def curves(steps: pd.DataFrame) -> None:
    """Print each epoch's mean loss side by side, and the largest relative difference of a step's loss from the loop's."""
    by_step = steps.pivot(index=["epoch", "step"], columns="trainer", values="loss")
    print(by_step.groupby("epoch").mean().to_markdown(floatfmt=".6g"))
    apart = by_step.sub(by_step["loop"], axis=0).div(by_step["loop"], axis=0).abs().max()
    print("largest relative difference of a step's loss:", {name: f"{value:.1e}" for name, value in apart.drop("loop").items()})


def real(model: Model, given: argparse.Namespace) -> list[dict]:
    """Edits of the demo: ours and the loop in turns."""
    paths = sorted(path for pattern in given.edits for path in glob.glob(str(pattern)))
    if not paths:
        raise OnemaskError("files of edits", f"none at {given.edits}", "Run the demo first, or name others with --edits.")
    table = read_edits(paths)
    facts, edits = join_facts(read_table(given.facts, FACTS), table), layer_edits(table, model)
    order = torch.randperm(len(facts), generator=torch.Generator().manual_seed(given.seed))
    chosen, held = order[: given.edits_used].sort()[0], order[given.edits_used :][: given.held_out].sort()[0]
    settings = demo_settings(model, given)
    print(f"{len(chosen)} edits of layer {edits.layer} in batches of {settings.batch_edits}, {len(held)} held out")
    task = (model, facts.iloc[chosen.numpy()], edits[chosen.to(model.device)])
    trainers = {"loop": Loop(*task, settings, given.seed, not given.one_by_one), "ours": Ours(*task, settings, given.seed)}
    if given.bfloat16:
        half = dataclasses.replace(settings, precision="bfloat16")
        trainers["ours, bf16 products"] = Ours(*task, half, given.seed)
    steps = alternate(model, trainers, len(chosen), settings, given.seed)
    rows, last = [], schedule(settings, 1.0)
    keeps = {name: hard_mask(trainer.theta, settings, last.tau) for name, trainer in trainers.items()}
    for name, trainer in trainers.items():
        precise = "bf16" not in name and settings.precision == "float32"
        peak = gemm_peak(model, torch.float32 if precise else torch.bfloat16)
        flops = flops_of(lambda trainer=trainer: trainer.step(list(range(min(len(chosen), settings.batch_edits))), last))
        row = summary(name, trainer, steps.loc[steps["trainer"] == name, "seconds"], peak, flops, settings)
        row["times faster"] = rows[0]["seconds an epoch"] / row["seconds an epoch"] if rows else 1.0
        row |= {"pruned": pruned_share(keeps[name]), "weights as the loop": float((keeps[name] == keeps["loop"]).double().mean())}
        if len(held):
            row["test RSR"] = test_rsr(model, facts.iloc[held.numpy()], edits[held.to(model.device)], keeps[name])
        rows.append(row)
    curves(steps)
    return rows


def random_task(model: Model, count: int, given: argparse.Namespace) -> tuple[Model, pd.DataFrame, LayerEdits]:
    """Facts with their three texts, drawn again where there are too few, under random rank-one edits."""
    table = read_table(given.facts, FACTS)
    facts = table.sample(count, replace=count > len(table), random_state=given.seed).reset_index(drop=True)
    generator = torch.Generator().manual_seed(given.seed)
    u, r = (torch.randn(count, 1, size, generator=generator) for size in (model.d_mlp, model.d_model))
    edits = FactoredEdits(given.layer, u / u.norm(dim=2, keepdim=True), r / r.norm(dim=2, keepdim=True))
    return model, facts, LayerEdits(edits.to(model.device))


def extrapolated(model: Model, name: str, count: int, batch: int, peak: float, given: argparse.Namespace) -> dict:
    """A row of the table for one trainer on `count` random edits, and what the paper's training would take."""
    task, settings = random_task(model, count, given), dataclasses.replace(demo_settings(model, given), batch_edits=batch)
    on_gpu = model.device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    trainer = Ours(*task, settings, given.seed) if name == "ours" else Loop(*task, settings, given.seed, not given.one_by_one)
    steps = alternate(model, {name: trainer}, count, settings, given.seed)
    memory = torch.cuda.max_memory_allocated() / 1e9 if on_gpu else float("nan")
    flops = flops_of(lambda: trainer.step(list(range(batch)), schedule(settings, 1.0)))
    row = summary(name, trainer, steps["seconds"], peak, flops, settings)
    epoch = row["seconds a step"] / batch * PAPER["edits"]
    hours = (trainer.preparing / count * PAPER["edits"] + epoch * PAPER["epochs"]) / 3600
    return row | {"edits a step": batch, "s an epoch of 3,000": epoch, "hours for 300": hours, "peak memory, GB": memory}


def random_weights(model: Model, given: argparse.Namespace) -> list[dict]:
    """A model of random weights: ours on all edits, the loop on a few (its time is a sum over records)."""
    peak, batch = gemm_peak(model, getattr(torch, given.dtype)), demo_settings(model, given).batch_edits
    tried = {"loop": (given.loop_records, given.loop_records), "ours": (given.edits_used, min(batch, given.edits_used))}
    rows = [extrapolated(model, name, *sizes, peak, given) for name, sizes in tried.items()]
    for row in rows:
        row["times faster"] = rows[0]["s an epoch of 3,000"] / row["s an epoch of 3,000"]
    return rows


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=ROOT / "results" / "assets" / "models" / "smollm2-135m", type=Path)
    parser.add_argument("--shape", choices=["gpt2-xl", "gpt2"], help="random weights and edits instead of --model and --edits")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", help="bfloat16: bf16 products too")
    parser.add_argument("--edits", nargs="+", default=[DEMO / "smollm2-135m" / "rome" / "edits" / "train" / "*.parquet"])
    parser.add_argument("--facts", default=DEMO / "facts" / "train.parquet", type=Path)
    parser.add_argument("--edits-used", type=int, default=48)
    parser.add_argument("--held-out", type=int, default=24)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-edits", type=int, help="the demo's by default")
    parser.add_argument("--batch-tokens", type=int, help="the default settings' by default")
    parser.add_argument("--lr", type=float, help="the demo's by default")
    parser.add_argument("--layer", type=int, default=17, help="of random edits; the paper's for GPT-2 XL")
    parser.add_argument("--loop-records", type=int, default=4, help="with random edits: records of the loop's step")
    parser.add_argument("--one-by-one", action="store_true", help="the loop runs a record's texts one by one")
    parser.add_argument("--bfloat16", action="store_true", help="ours with bf16 products too")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> None:
    given = arguments()
    torch.set_num_threads(given.threads)
    model = shaped(given.shape, given.device, given.dtype) if given.shape else load_model(given.model, given.device, given.dtype)
    rows = random_weights(model, given) if given.shape else real(model, given)
    print(pd.DataFrame(rows).to_markdown(index=False, floatfmt=".3g"))
    print(json.dumps({name: str(value) for name, value in vars(given).items()}))


if __name__ == "__main__":
    main()
