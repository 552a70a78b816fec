"""What a run will take: operations as torch counts them, memory as autograd keeps it, jobs as Snakemake has them."""

import dataclasses
import re
from collections.abc import Callable

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import plan_run
from conftest import random_network
from onemask.config.load import load_run, read_yaml
from onemask.config.run import Run
from onemask.editors.second_moment import measure
from onemask.io.errors import OnemaskError
from onemask.model.edits import product
from onemask.model.forward import causal_mask, finish, finish_at, run_blocks, run_to
from onemask.model.models import Model
from onemask.model.packing import pack
from onemask.model.tokens import pad
from onemask.planning import costs, plan
from onemask.planning.costs import Shape
from onemask.planning.memory import meta_model, peaks, saved, weights
from run_configs import ROOT, read

GB = 1e9
DEVICES = read_yaml(ROOT / "config" / "devices.yaml")


def run_of(name: str = "paper", **changes) -> Run:
    return load_run(read(name) | changes, ROOT)


@pytest.mark.parametrize("name", ["gpt2-xl", "llama-3.2-3b", "qwen2.5-7b"])
def test_operations_of_blocks_are_those_that_torch_counts(name):
    """Forward, and forward and backward to the input; attention between a fact's few tokens is what the formula leaves out."""
    own = run_of().models[name]
    model, shape, layers, rows, length = meta_model(own), plan.shape_of(name, own), 3, 8, 10
    lengths, positions = torch.full((rows,), length, device="meta"), torch.arange(length, device="meta")[None]
    hidden = torch.empty(rows, length, model.d_model, device="meta", dtype=model.weight(0).dtype, requires_grad=True)
    for backward in (False, True):
        with FlopCounterMode(display=False) as counter:
            behind = run_blocks(model, hidden, range(layers), causal_mask(lengths, length), positions)
            if backward:
                behind.sum().backward()
        assert counter.get_total_flops() == pytest.approx((1 + backward) * shape.through(layers, rows * length), rel=0.03)


def flops(compute: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        compute()
    return counter.get_total_flops()


def test_what_is_not_computed_is_not_counted(model):
    """The last MLP where nothing is read, and one of two halves of a symmetric product, to the operation."""
    mlp = sum(part.numel() for part in model.block(0).get_submodule(model.family.mlp).parameters() if part.dim() == 2)
    shape = Shape(model.n_layers, model.d_model, model.d_mlp, len(model.unembed.weight), block=0, mlp=mlp)
    at_layer, read = run_to(model, 1, pad([[1, 2, 3, 4], [5, 6]])), torch.tensor([0, 1])
    made = product(at_layer.keys, model.weight(1))
    saving = flops(lambda: finish(model, at_layer, made)) - flops(lambda: finish_at(model, at_layer, made, read, read))
    tokens = pack([4, 2], 4, torch.device("cpu")).source.numel()
    assert saving == -shape.behind(1, tokens, read=2) > 0  # of blocks that count nothing
    assert shape.behind(model.n_layers - 1, tokens, read=2) == 0  # behind the last block there is none
    windows = torch.zeros(2, 8, dtype=torch.long)
    one, two = (flops(lambda layers=layers: measure(model, layers, windows, 100)) for layers in ([1], [0, 1]))
    assert two - one == costs.outer_products(shape, 1, 16)


def test_one_pass_serves_the_second_moments_of_a_method():
    assert plan.moments_of(run_of(), "qwen2.5-7b") == [(4, 5, 6, 7, 8)]
    assert plan.moments_of(run_of(compare=["r-rome"]), "qwen2.5-7b") == [(4, 5, 6, 7, 8)]
    assert plan.moments_of(run_of(methods=["rome"]), "qwen2.5-7b") == []


def test_what_autograd_keeps_is_counted_alike_with_and_without_memory():
    network, sizes = random_network("llama").float(), {}
    with torch.device("meta"):
        empty = type(network)(network.config)
    for device, own in (("cpu", network), ("meta", empty)):
        sizes[device] = [saved(Model(own, None, "llama"), 0, rows, 7, torch.float32, device) for rows in (2, 4)]
    assert sizes["meta"] == pytest.approx(sizes["cpu"], rel=0.1)  # each device's attention keeps a little of its own
    assert sizes["meta"][1] == pytest.approx(2 * sizes["meta"][0], rel=0.1)


@pytest.fixture(scope="module")
def paper():
    return plan.plan(run_of(), DEVICES["a100-80"])


@pytest.mark.parametrize("name, budget", [("gpt2-xl", 40), ("llama-3.2-3b", 80), ("qwen2.5-7b", 80)])
def test_every_stage_of_the_paper_fits(paper, name, budget):
    part = paper[paper["model"] == name]
    assert len(part) == 15 and part["peak"].max() < 0.9 * budget * GB  # a tenth for what allocators leave between tensors
    if name == "qwen2.5-7b":
        assert part.loc[part["stage"].isin(["moments", "edits", "blocking"]), "peak"].max() < 0.9 * 40 * GB


def test_the_paper_is_planned_below_twelve_hours(paper):
    assert paper["seconds"].sum() < 12 * 3600


def test_a_model_that_is_too_large_is_seen_not_to_fit():
    """A shape of 70 billion parameters: the negative control of the test above."""
    run = run_of()
    own = run.models["llama-3.2-3b"]
    shape = dataclasses.replace(own.shape, layers=80, d_model=8192, d_mlp=28672, heads=64, tied=False)
    own = dataclasses.replace(own, shape=shape)
    assert weights(meta_model(own)) == pytest.approx(141 * GB, rel=0.01)
    assert min(peaks(own, own.editing["rome"], 8000, run.perplexity, 0, "counterfact").values()) > 80 * GB


def test_twice_the_facts_take_twice_the_work():
    facts = read("paper")["facts"]
    once, twice = (
        plan.operations(run_of(methods=["rome"], facts=facts | {"per_relation": {"train": n, "test": n}}), "gpt2-xl", "rome")
        for n in (50, 100)
    )
    for stage in ("edits", "mask", "reversal", "blocking"):
        assert twice[stage] == pytest.approx(2 * once[stage], rel=1e-6), stage


def test_a_method_whose_cost_is_not_known_is_named():
    with pytest.raises(OnemaskError, match="methods that optimise over templates, to plan; found ft-l"):
        plan.plan(run_of("demo", methods=["ft-l"]), DEVICES["cpu"])


def test_a_model_without_its_shape_cannot_be_planned():
    own = dataclasses.replace(run_of().models["gpt2-xl"], shape=None)
    with pytest.raises(OnemaskError, match="the key shape in config/models/gpt2-xl.yaml"):
        plan.shape_of("gpt2-xl", own)


def test_the_plan_names_every_stage_and_snakemakes_jobs(capsys):
    files = ["config/demo.yaml", "config/demo_all.yaml"]
    plan_run.main([*files, "--device", "cpu"])
    said = capsys.readouterr().out
    assert all(re.search(rf"^smollm2-135m +(rome|memit)? +{stage} ", said, re.MULTILINE) for stage in plan.STAGES)
    jobs = plan.jobs(ROOT, files)
    assert f"{jobs['total']} jobs" in said and jobs["total"] == sum(count for rule, count in jobs.items() if rule != "total")


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["config/paper.yaml", "--device", "abacus"], "a device out of cpu, cpu-avx512, a100-80.*found abacus"),
        (["config/none.yaml"], "YAML at .*config/none.yaml"),
    ],
)
def test_a_wrong_call_is_one_line(arguments, message):
    with pytest.raises(SystemExit, match=message):
        plan_run.main(arguments)


def test_what_a_finished_stage_took_stands_beside_its_plan(tmp_path):
    for chunk, seconds in (("0", 30.0), ("1", 12.5)):
        log = tmp_path / "m" / "rome" / "benchmarks" / "edit_facts" / "test" / f"{chunk}.tsv"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(f"s\tmax_rss\n{seconds}\t100\n")
    assert plan.measured(tmp_path, "m", "rome", "edits") == 42.5
    assert plan.measured(tmp_path, "m", "rome", "mask") is None
