"""How long an edit takes: EasyEdit (onemask.editors.easyedit_adapter), ours one by one, ours batched, in turns in one run.

    python benchmarks/editing.py --facts 8                          # ROME, then MEMIT, against EasyEdit
    python benchmarks/editing.py --facts 100 --only memit --without-easyedit
    python benchmarks/editing.py --device cuda --shape gpt2-xl --batches 1 16 64 256   # random weights, no EasyEdit

Same facts, templates, steps and threads for all. CPU-seconds of this process on a CPU, seconds on a GPU.
"""

import argparse
import dataclasses
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from onemask.data.counterfact import embedded_facts
from onemask.editors import easyedit, memit, rome
from onemask.editors.base import Edited, Task
from onemask.editors.second_moment import SecondMoment
from onemask.editors.templates import choose, make_templates
from onemask.model.models import Model, load_model

ROOT = Path(__file__).resolve().parent.parent
OPTIMISATION = {
    "steps": 25, "lr": 0.5, "weight_decay": 1e-3, "kl_factor": 0.0625, "clamp_norm_factor": 4, "loss_threshold": 0.05,
    "precision": "float32",
}  # fmt: skip


def some_facts(count: int) -> list[dict]:
    """Embedded facts, of every relation in turn."""
    folder = ROOT / "config" / "datasets" / "embedded"
    table = embedded_facts(folder / "facts.csv", folder / "relations.csv", 0)
    turn = table.groupby("relation_id").cumcount()
    return table.iloc[turn.argsort(kind="stable")].iloc[:count].to_dict("records")


def shaped(name: str, device: str, dtype: str) -> Model:
    """A model of a published shape with random weights, and the demo's tokenizer."""
    from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

    shapes = {"gpt2-xl": {"n_embd": 1600, "n_layer": 48, "n_head": 25}, "gpt2": {"n_embd": 768, "n_layer": 12, "n_head": 12}}
    torch.manual_seed(0)
    with torch.device(device):
        network = GPT2LMHeadModel(GPT2Config(attn_implementation="sdpa", **shapes[name])).to(getattr(torch, dtype))
    tokenizer = AutoTokenizer.from_pretrained(ROOT / "results/assets/models/smollm2-135m")
    return Model(network, tokenizer, "gpt2")


def clock(model: Model) -> float:
    """CPU-seconds of this process, or seconds once the GPU is idle."""
    if model.device.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def gemm_peak(model: Model, dtype: torch.dtype, rows: int = 1024) -> float:
    """FLOP a second of the best of ten products of an MLP's shape."""
    left = torch.randn(rows, model.d_model, device=model.device, dtype=dtype)
    right = torch.randn(model.d_mlp, model.d_model, device=model.device, dtype=dtype)
    best = 0.0
    for _ in range(10):
        start = clock(model)
        repeats = 0
        while repeats < 3 or clock(model) - start < 0.05:
            left @ right.T
            repeats += 1
        best = max(best, 2 * repeats * rows * model.d_model * model.d_mlp / (clock(model) - start))
    return best


def seconds(model: Model, work: Callable[[], Edited]) -> tuple[float, Edited]:
    start = clock(model)
    edited = work()
    return clock(model) - start, edited


def parts(edited: Edited, i: int) -> torch.Tensor:
    """One fact's update in all layers, flat."""
    return torch.cat([layer.dense(i).flatten() for layer in edited.layers])


def success(model: Model, facts: list[dict], edited: Edited) -> float:
    """Share of facts with P(o*) > P(o) after ROME's edits."""
    from onemask.editors.tables import score_facts

    scored = score_facts(model, pd.DataFrame(facts), edited.layers[0], edited.layers[0].layer, 4000, "after")
    return float((scored["logp_new_after"] > scored["logp_true_after"]).mean())


def rome_rows(model: Model, facts: list[dict], given: argparse.Namespace) -> list[dict]:
    """ROME: EasyEdit and ours one by one, fact by fact in turns; then batched, in float32 and in bf16 products."""
    counts = [{"length": 5, "count": 10}, {"length": 10, "count": 10}] if given.templates == 21 else []
    counts = counts or [{"length": 10, "count": given.templates - 1}]
    templates = choose(make_templates(model, counts, 0), counts)
    settings = rome.Settings(layer=given.layer, mom2_adjustment=False, edit_batch_tokens=given.batch_tokens, **OPTIMISATION)
    alone = {"EasyEdit": [], "ours, one by one": []}
    reference = []
    for fact in facts:
        task = Task(model, [fact], templates)
        if not given.without_easyedit:
            alone["EasyEdit"].append(seconds(model, lambda task=task: easyedit.edit(task, "rome", settings, None)))
        alone["ours, one by one"].append(seconds(model, lambda task=task: rome.edit(task, settings)))
        reference.append(parts(alone["ours, one by one"][-1][1], 0))
        print(".", end="", flush=True)
    rows = []
    for name, runs in alone.items():
        if runs:
            error = max(relative(parts(edited, 0), expected) for (_, edited), expected in zip(runs, reference, strict=True))
            rows.append(row("ROME", name, [taken for taken, _ in runs], len(facts), error, 1))
    task = Task(model, facts, templates)
    kinds = {"ours, batched": settings}
    if given.bfloat16:
        kinds["ours, batched, bf16 products"] = dataclasses.replace(settings, precision="bfloat16")
    for name, chosen in kinds.items():
        taken, edited = seconds(model, lambda chosen=chosen: rome.edit(task, chosen))
        error = max(relative(parts(edited, i), expected) for i, expected in enumerate(reference))
        rows.append(row("ROME", name, [taken], len(facts), error, len(facts)) | {"success": success(model, facts, edited)})
    with FlopCounterMode(display=False) as counter:
        rome.edit(task, settings)
    flops, peak = counter.get_total_flops() / len(facts), gemm_peak(model, torch.float32)
    batched = next(found for found in rows if found["editor"] == "ours, batched")
    share = flops / batched["seconds an edit"] / peak
    print(f"\nours, batched: {flops / 1e12:.3f} TFLOP an edit, {share:.0%} of the measured GEMM peak of {peak / 1e9:.0f} GFLOP/s")
    return rows


def memit_rows(model: Model, facts: list[dict], given: argparse.Namespace) -> list[dict]:
    """MEMIT of all facts at once; the time of the insertion apart from that of z."""
    counts = [{"length": 10, "count": 5}]
    templates = choose(make_templates(model, counts, 0), counts)
    layers = list(range(given.layer - 1, given.layer + 4))
    moments = {layer: SecondMoment(layer, 0.02 * torch.eye(model.d_mlp), 10**6) for layer in layers}
    settings = memit.Settings(layers=layers, mom2_update_weight=1500, edit_batch_tokens=given.batch_tokens, **OPTIMISATION)
    task, inserting, insert = Task(model, facts, templates, moments), [], memit.insert

    def timed(*arguments):
        start = clock(model)
        try:
            return insert(*arguments)
        finally:
            inserting.append(clock(model) - start)

    rows, expected = [], None
    if not given.without_easyedit:
        taken, edited = seconds(model, lambda: easyedit.edit(task, "memit", settings, None))
        expected = [layer.sum() for layer in edited.layers]
        rows.append(row("MEMIT", "EasyEdit", [taken], len(facts), 0.0, len(facts)))
    memit.insert = timed
    try:
        taken, edited = seconds(model, lambda: memit.edit(task, settings))
    finally:
        memit.insert = insert
    expected = expected or [layer.sum() for layer in edited.layers]
    error = max(relative(layer.sum(), other) for layer, other in zip(edited.layers, expected, strict=True))
    rows.append(row("MEMIT", "ours, batched", [taken], len(facts), error, len(facts)))
    print(f"\nMEMIT, {len(facts)} facts: z {taken - inserting[0]:.1f} s, insertion {inserting[0]:.1f} s")
    return rows


def batch_rows(model: Model, given: argparse.Namespace) -> list[dict]:
    """ROME at several batch sizes, against one by one."""
    counts = [{"length": 5, "count": 10}, {"length": 10, "count": 10}]
    templates = choose(make_templates(model, counts, 0), counts)
    settings = rome.Settings(layer=given.layer, mom2_adjustment=False, edit_batch_tokens=10**9, **OPTIMISATION)
    settings = dataclasses.replace(settings, loss_threshold=0.0, steps=20)
    rows = []
    for precision in ("float32", "bfloat16"):
        chosen = dataclasses.replace(settings, precision=precision)
        for size in given.batches:
            task = Task(model, some_facts(size), templates)
            rome.edit(task, dataclasses.replace(chosen, steps=2))
            taken, _ = seconds(model, lambda task=task, chosen=chosen: rome.edit(task, chosen))
            rows.append(row("ROME", f"ours, {precision}", [taken], size, float("nan"), size))
    return rows


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def row(method: str, editor: str, taken: list[float], facts: int, error: float, batch: int) -> dict:
    found = {"method": method, "editor": editor, "facts at once": batch, "seconds an edit": sum(taken) / facts}
    return found | {"spread": statistics.stdev(taken) if len(taken) > 1 else float("nan"), "largest relative difference": error}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=ROOT / "results" / "assets" / "models" / "smollm2-135m", type=Path)
    parser.add_argument("--shape", choices=["gpt2-xl", "gpt2"], help="random weights of this shape instead of --model")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--facts", type=int, default=8)
    parser.add_argument("--templates", type=int, default=21, help='with "{}"')
    parser.add_argument("--layer", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch-tokens", type=int, default=4000)
    parser.add_argument("--batches", type=int, nargs="+", help="only ROME at these batch sizes, without EasyEdit")
    parser.add_argument("--bfloat16", action="store_true", help="bf16 products too (slow on a CPU without AMX or AVX512-BF16)")
    parser.add_argument("--only", choices=["rome", "memit"])
    parser.add_argument("--without-easyedit", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model = shaped(given.shape, given.device, given.dtype) if given.shape else load_model(given.model, given.device, given.dtype)
    facts = some_facts(given.facts)
    rows = []
    if given.batches:
        rows += batch_rows(model, given)
    else:
        rows += [] if given.only == "memit" else rome_rows(model, facts, given)
        rows += [] if given.only == "rome" else memit_rows(model, facts, given)
    table = pd.DataFrame(rows)
    first = table.groupby("method")["seconds an edit"].transform("first")
    table["times faster than the first"] = first / table["seconds an edit"]
    print(table.to_markdown(index=False, floatfmt=".3g"))
    print(json.dumps({key: str(value) for key, value in vars(given).items()}))


if __name__ == "__main__":
    main()
