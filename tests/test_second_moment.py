"""The second moment: equal to its definition, resumable, and refused where it cannot serve."""

import pytest
import torch

from conftest import FACTS, TEMPLATES
from onemask.editors.base import Task
from onemask.editors.run import edit
from onemask.editors.second_moment import SecondMoment, measure, read_second_moments, write_second_moments
from onemask.io.errors import OnemaskError
from onemask.io.tensor_files import Checkpoint, write_tensors
from test_editors import OPTIMISATION

LAYER = 1


def some_windows(model, count: int = 24, length: int = 8) -> torch.Tensor:
    return torch.randint(model.unembed.weight.shape[0], (count, length), generator=torch.Generator().manual_seed(5))


def test_it_is_the_mean_of_outer_products(model):
    windows, keys = some_windows(model), {}
    hooks = [
        model.matrix(layer).register_forward_pre_hook(lambda _, args, layer=layer: keys.update({layer: args[0].flatten(0, 1)}))
        for layer in (0, LAYER)
    ]
    with torch.no_grad():
        model.network(windows)
    for hook in hooks:
        hook.remove()
    found = measure(model, [0, LAYER], windows, batch_tokens=30)
    assert list(found) == [0, LAYER]
    for layer, moment in found.items():
        assert (moment.layer, moment.samples) == (layer, windows.numel())
        expected = keys[layer].T @ keys[layer] / len(keys[layer])
        torch.testing.assert_close(moment.matrix.double(), expected, rtol=1e-5, atol=1e-6)
        assert torch.equal(moment.matrix, moment.matrix.T)


def test_a_layer_has_the_same_one_alone_and_with_others(model):
    together = measure(model, [0, LAYER], some_windows(model), 30)
    assert torch.equal(measure(model, [0], some_windows(model), 30)[0].matrix, together[0].matrix)


def test_tf32_loses_nothing_of_half_precision():
    """Its 8 bits of exponent and 10 of fraction hold every bfloat16 and every float16 of normal size."""
    for dtype in (torch.bfloat16, torch.float16):
        numbers = torch.randn(1000, generator=torch.Generator().manual_seed(0)).to(dtype).float()
        assert not (numbers.view(torch.int32) & 0x1FFF).any()
    assert (torch.tensor([0.1]).view(torch.int32) & 0x1FFF).any()


def test_a_killed_measurement_goes_on_where_it_was(model, tmp_path, monkeypatch):
    windows, path, done = some_windows(model), tmp_path / "checkpoint", []
    monkeypatch.setattr("onemask.editors.second_moment.CHECKPOINT_EVERY", 0)

    def killed(count):
        done.append(count)
        if count == 15:
            raise KeyboardInterrupt

    layers = [0, LAYER]
    whole = measure(model, layers, windows, 24)
    with pytest.raises(KeyboardInterrupt):
        measure(model, layers, windows, 24, Checkpoint(path, "x"), killed)
    resumed = measure(model, layers, windows, 24, Checkpoint(path, "x"), done.append)
    assert done == [3, 6, 9, 12, 15, 15, 18, 21, 24]
    assert all(torch.equal(resumed[layer].matrix, whole[layer].matrix) for layer in layers)
    done.clear()
    another = measure(model, layers, windows, 24, Checkpoint(path, "another"), done.append)
    assert torch.equal(another[LAYER].matrix, whole[LAYER].matrix)
    assert done[0] == 3


@pytest.fixture
def written(model, tmp_path):
    path = tmp_path / "0-1.safetensors"
    write_second_moments(path, measure(model, [0, LAYER], some_windows(model), 1000), {"model": model.info})
    return path


def test_what_is_written_is_read(model, written):
    found = read_second_moments([written], model, [0, LAYER])
    assert list(found) == [0, LAYER] and read_second_moments([], model, []) == {}
    moment = found[LAYER]
    column = torch.randn(model.d_mlp, 1, dtype=torch.float64)
    torch.testing.assert_close(moment.matrix.double() @ moment.solve(column), column)


def rewrite(path, matrix: torch.Tensor, **metadata) -> None:
    write_tensors(path, {f"layer{LAYER}": matrix}, {"samples": 10_000, "model": {}} | metadata)


@pytest.mark.parametrize(
    ("metadata", "change", "message"),
    [
        ({"samples": 7}, lambda c: c, "at least 48 samples .its dimension.; found 7"),
        (
            {"model": {"sha256": "0"}},
            lambda c: c,
            "second moments of this model; found those of other weights",
        ),
        ({}, lambda c: c[:5, :5].contiguous(), "a 48 x 48 second moment of layer 1; found 5 x 5"),
        ({}, lambda c: c * float("nan"), "a finite second moment of layer 1"),
    ],
)
def test_one_that_cannot_serve_is_refused(model, written, metadata, change, message):
    rewrite(written, change(read_second_moments([written], model, [LAYER])[LAYER].matrix), **metadata)
    with pytest.raises(OnemaskError, match=message):
        read_second_moments([written], model, [LAYER])


def test_a_file_of_other_layers_is_refused(model, written):
    with pytest.raises(OnemaskError, match="second moments at .*0-1.safetensors; found a file of layer0, layer1"):
        read_second_moments([written], model, [LAYER, 2])


@pytest.mark.parametrize("damage", [lambda data: data[:-20], lambda data: b"", None])
def test_a_damaged_or_missing_file_is_named(model, written, damage):
    if damage is None:
        written.unlink()
    else:
        written.write_bytes(damage(written.read_bytes()))
    with pytest.raises(OnemaskError, match="second moments at .*0-1.safetensors"):
        read_second_moments([written], model, [LAYER])


def test_windows_longer_than_the_context_are_refused(model):
    with pytest.raises(OnemaskError, match="windows of at most 64 tokens; found 65"):
        measure(model, [LAYER], torch.zeros(2, 65, dtype=torch.long), 1000)


@pytest.mark.parametrize("method", ["rome", "memit", "emmet"])
def test_a_singular_one_is_refused_before_any_work(model, method, monkeypatch):
    """By the editors that solve with it; AlphaEdit looks for its null space."""
    more = {
        "rome": {"layer": 1, "mom2_adjustment": True},
        "memit": {"layers": [1], "mom2_update_weight": 1.0},
        "emmet": {"layers": [1], "mom2_update_weight": 1.0, "emmet_lambda": 0.1},
    }
    monkeypatch.setattr("onemask.editors.delta.prepare", None)
    task = Task(model, FACTS, TEMPLATES, {1: SecondMoment(1, torch.ones(model.d_mlp, model.d_mlp), 5)})
    with pytest.raises(OnemaskError, match="positive definite second moment of layer 1.*from 5 tokens"):
        edit(task, method, OPTIMISATION | more[method])


def test_a_singular_one_says_so():
    with pytest.raises(OnemaskError, match="positive definite second moment of layer 3.*from 5 tokens"):
        SecondMoment(3, torch.ones(4, 4), 5).solve(torch.ones(4, 1, dtype=torch.float64))


def test_equal_tensors_and_metadata_are_equal_bytes(tmp_path):
    for i in range(8):
        write_tensors(
            tmp_path / f"{i}.safetensors", {"b": torch.ones(2), "a": torch.zeros(3)}, {"name": "x", "seed": 0, "rule": "y"}
        )
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1
