"""EasyEdit's own code, run by the adapter, against the plain implementations; and that nothing of it stays behind."""

import copy
import importlib.util
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tokenizers.processors import TemplateProcessing

import dense_editors
from conftest import FACTS, TEMPLATES, random_network
from onemask.editors import easyedit_adapter as easyeditor
from onemask.io.errors import OnemaskError
from onemask.model.models import Model
from onemask.model.tokens import encode_with_subject
from tiny_model import object_ids

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("easyeditor") is None, reason=f"`pip install --no-deps {easyeditor.WHEEL}` has not been run here"
)

LAYERS = [1, 2]
PAIR = FACTS[:2]
SETTINGS = SimpleNamespace(
    layer=1,
    layers=LAYERS,
    steps=6,
    lr=0.5,
    weight_decay=1e-3,
    kl_factor=0.0625,
    clamp_norm_factor=4,
    loss_threshold=0.05,
    mom2_adjustment=False,
    mom2_update_weight=3.0,
)


def with_settings(**changes) -> SimpleNamespace:
    return SimpleNamespace(**{**vars(SETTINGS), **changes})


def another(model: Model, dtype: torch.dtype = torch.float64, tokenizer=None) -> Model:
    network = copy.deepcopy(model.network).to(dtype)
    return Model(network, tokenizer or model.tokenizer, network.config.model_type)


def moment(model: Model, seed: int = 0) -> torch.Tensor:
    """A second moment: symmetric, positive definite, far from the identity."""
    keys = torch.randn(2 * model.d_mlp, model.d_mlp, generator=torch.Generator().manual_seed(seed))
    keys = keys * torch.linspace(0.2, 2, model.d_mlp)
    return keys.T @ keys / len(keys)


def texts(model: Model, fact: dict) -> list[tuple[list[int], int]]:
    return [encode_with_subject(model.tokenizer, fact["prompt"], fact["subject"], template) for template in TEMPLATES]


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found.double() - expected.double()).norm() / expected.double().norm())


def assert_is_plain_rome(model: Model, fact: dict):
    factors, trace = easyeditor.rome_factors(model, fact, TEMPLATES, SETTINGS)
    u, r, expected = dense_editors.rome(model, fact, TEMPLATES, SETTINGS)
    assert (factors.layer, factors.u.dtype, factors.r.dtype) == (1, model.unembed.weight.dtype, model.unembed.weight.dtype)
    assert relative_error(torch.outer(factors.r[0], factors.u[0]), torch.outer(r, u)) < 1e-5
    assert trace == pytest.approx(expected, abs=6e-4)  # EasyEdit prints three decimals


@pytest.mark.parametrize("fact", PAIR, ids=lambda fact: fact["subject"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_rome_equals_the_plain_implementation(model, dtype, fact):
    assert_is_plain_rome(another(model, dtype), fact)


def test_tokenizers_that_pad_left_without_a_pad_token_and_begin_with_a_bos(model):
    tokenizer = copy.deepcopy(model.tokenizer)
    tokenizer.padding_side, tokenizer.pad_token, tokenizer.bos_token = "left", None, "<|end|>"
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<|end|> $A", special_tokens=[("<|end|>", 0)])
    assert tokenizer("Lyon")["input_ids"][0] == 0
    for fact in PAIR:
        assert_is_plain_rome(another(model, tokenizer=tokenizer), fact)
    assert (tokenizer.padding_side, tokenizer.pad_token) == ("left", None)


def test_rome_with_the_second_moment(model):
    settings, covariance = with_settings(mom2_adjustment=True), moment(model)
    for fact in PAIR:
        factors, trace = easyeditor.rome_factors(model, fact, TEMPLATES, settings, covariance)
        with torch.no_grad():
            key = torch.stack(
                [dense_editors.run(model, ids, 1, position)[1]["key"] for ids, position in texts(model, fact)]
            ).mean(0)
        u = torch.linalg.solve(covariance.double(), key)
        torch.testing.assert_close(factors.u[0].double(), u / u.norm(), rtol=0, atol=1e-5)
        # the moment turns u alone: what the edit adds at the prompt's key is the same as without
        plain, plain_trace = easyeditor.rome_factors(model, fact, TEMPLATES, SETTINGS)
        ids, position = texts(model, fact)[0]
        key = dense_editors.run(model, ids, 1, position)[1]["key"]
        torch.testing.assert_close(factors.r[0] * (factors.u[0] @ key), plain.r[0] * (plain.u[0] @ key), rtol=1e-4, atol=1e-4)
        assert trace == plain_trace


@torch.no_grad()
def run(model: Model, text: tuple[list[int], int], delta: torch.Tensor | None = None):
    """Log-probabilities of one text, and at its lookup position W's input in both layers ("1", "2") and block 2's output ("z").

    `delta` is added to the latter.
    """
    ids, position = text
    seen = {}

    def on_block(_, __, output):
        seen["z"] = output[0, position].clone()
        output[0, position] += 0 if delta is None else delta

    hooks = [model.block(LAYERS[-1]).register_forward_hook(on_block)]
    for layer in LAYERS:
        keep = lambda _, args, at=str(layer): seen.update({at: args[0][0, position]})  # noqa: E731
        hooks.append(model.matrix(layer).register_forward_pre_hook(keep))
    try:
        return model.network(torch.tensor([ids])).logits[0].log_softmax(-1), seen
    finally:
        for hook in hooks:
            hook.remove()


def memit_loss(model: Model, fact: dict, delta: torch.Tensor) -> float:
    """MEMIT's loss as written down in method.md: NLL of the target, KL of the subject's text, weight decay."""
    target, nll = object_ids(model.tokenizer, fact["target_new"]), 0.0
    for ids, position in texts(model, fact):
        reads = run(model, (ids + target[:-1], position), delta)[0][len(ids) - 1 :]
        nll -= sum(float(reads[n, token]) for n, token in enumerate(target)) / len(target) / len(TEMPLATES)
    text = encode_with_subject(model.tokenizer, "{} is a", fact["subject"])
    before, now = run(model, text)[0][text[1]], run(model, text, delta)[0][text[1]]
    initial = run(model, texts(model, fact)[0])[1]["z"]
    kl = float((now.exp() * (now - before)).sum())
    return nll + SETTINGS.kl_factor * kl + SETTINGS.weight_decay * float(delta.norm() / initial.norm() ** 2)


def test_memit_writes_what_it_optimised(model):
    """Its factors solve the equations of method.md section 3 with keys and values of plain forward passes, and so its losses.

    The one thing taken from it is the path of its optimiser.
    """
    moments = {layer: moment(model, layer) for layer in LAYERS}
    factors, traces = easyeditor.memit_factors(model, PAIR, TEMPLATES, SETTINGS, moments)
    assert [part.layer for part in factors] == LAYERS
    model, initial, wanted = another(model), [], []
    for left, part in zip((2, 1), factors, strict=True):
        seen = [[run(model, text)[1] for text in texts(model, fact)] for fact in PAIR]
        keys = torch.stack([(s[0][str(part.layer)] + sum(o[str(part.layer)] for o in s[1:]) / 2) / 2 for s in seen])
        system = SETTINGS.mom2_update_weight * moments[part.layer].double() + keys.T @ keys
        assert part.u.shape == (2, model.d_mlp) and part.r.shape == (2, model.d_model)
        assert relative_error(part.u, torch.linalg.solve(system, keys.T).T) < 1e-5
        initial.append(torch.stack([s[0]["z"] for s in seen]))
        wanted.append(initial[-1] + left * part.r)
        model.weight(part.layer).add_(part.r.T.double() @ part.u.double())
    assert relative_error(wanted[1], wanted[0]) < 1e-5
    model.weight(1).sub_(factors[0].r.T.double() @ factors[0].u.double())
    model.weight(2).sub_(factors[1].r.T.double() @ factors[1].u.double())
    for fact, trace, delta in zip(PAIR, traces, wanted[0] - initial[0], strict=True):
        assert trace[0] == pytest.approx(memit_loss(model, fact, torch.zeros_like(delta)), abs=6e-4)
        assert trace[-1] == pytest.approx(memit_loss(model, fact, delta), abs=6e-4)
        assert len(trace) == SETTINGS.steps and trace[-1] < trace[0]


def test_memit_with_the_bare_prompt_alone(model):
    factors, _ = easyeditor.memit_factors(model, PAIR, ["{}"], SETTINGS, {layer: moment(model) for layer in LAYERS})
    assert all(torch.isfinite(part.u).all() and torch.isfinite(part.r).all() for part in factors)


def state(model: Model) -> tuple:
    """All that EasyEdit or the adapter touch."""
    tokenizer = model.tokenizer
    return (
        {name: (id(parameter), parameter.requires_grad) for name, parameter in model.network.named_parameters()},
        (tokenizer.padding_side, tokenizer.pad_token, list(tokenizer.model_input_names), tokenizer("Lyon")["input_ids"]),
        [(list(vars(module)), len(module._forward_hooks)) for module in model.network.modules()],
        {name: id(module) for name, module in sys.modules.items() if name.startswith("easyeditor")},
        sys.stdout,
        torch.is_grad_enabled(),
    )


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_stays_behind(model, capsys, monkeypatch, fails):
    model = another(model)
    model.embed.weight.requires_grad_(True)
    monkeypatch.setitem(sys.modules, "easyeditor", SimpleNamespace(__spec__=importlib.util.find_spec("easyeditor")))
    weights = copy.deepcopy(model.network.state_dict())
    moments = {1: moment(model), 2: moment(model)[:7, :7] if fails else moment(model)}  # fails with layer 1 written
    with torch.no_grad():
        before = state(model)
        easyeditor.rome_factors(model, PAIR[0], TEMPLATES, with_settings(mom2_adjustment=True), moments[1])
        if fails:
            with pytest.raises(RuntimeError):
                easyeditor.memit_factors(model, PAIR, TEMPLATES, SETTINGS, moments)
        else:
            easyeditor.memit_factors(model, PAIR, TEMPLATES, SETTINGS, moments)
        assert state(model) == before
    assert all(torch.equal(value, weights[name]) for name, value in model.network.state_dict().items())
    assert capsys.readouterr().out == ""
    with easyeditor._imported(None) as easyedit:
        assert easyedit.rome.CONTEXT_TEMPLATES_CACHE is easyedit.memit.CONTEXT_TEMPLATES_CACHE is None
        assert easyedit.memit.COV_CACHE == easyedit.compute_u.inv_mom2_cache == {}
        assert easyedit.memit.compute_z.__module__ == "easyeditor.models.memit.compute_z"
        assert easyedit.memit.get_cov.__module__ == "easyeditor.models.memit.memit_main"
        assert easyedit.compute_u.get_inv_cov.__module__ == "easyeditor.models.rome.compute_u"


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A folder like a git checkout of EasyEdit: what the adapter needs of the installed package, in another place."""
    installed = Path(importlib.util.find_spec("easyeditor").submodule_search_locations[0])
    for part in ("models/rome", "models/memit", "util"):
        shutil.copytree(installed / part, tmp_path / "easyeditor" / part, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def rewrite(file: Path, old: str, new: str):
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture(scope="module")
def gpt2(tokenizer) -> Model:
    """One family, where all behave alike."""
    return Model(random_network("gpt2").double(), tokenizer, "gpt2")


def test_a_checkout_takes_the_wheels_place(gpt2, checkout):
    """Also a newer one, whose hyperparameters have more fields: needed ones, and R-ROME's switch, which is on there."""
    for method, place in (("rome", "max_length: int"), ("memit", "max_length: int")):
        newer = f"newer: str\n    enable_random_prefix_keys: bool = True\n    {place}"
        rewrite(checkout / "easyeditor" / "models" / method / f"{method}_hparams.py", place, newer)
    compute_v = checkout / "easyeditor" / "models" / "rome" / "compute_v.py"
    rewrite(compute_v, 'print("Computing right vector (v)")', "assert not hparams.enable_random_prefix_keys")
    moments = {layer: moment(gpt2) for layer in LAYERS}
    found = easyeditor.rome_factors(gpt2, PAIR[0], TEMPLATES, SETTINGS, location=str(checkout))
    expected = easyeditor.rome_factors(gpt2, PAIR[0], TEMPLATES, SETTINGS)
    assert torch.equal(found[0].r, expected[0].r) and torch.equal(found[0].u, expected[0].u) and found[1] == expected[1]
    found, _ = easyeditor.memit_factors(gpt2, PAIR, TEMPLATES, SETTINGS, moments, location=str(checkout))
    expected, _ = easyeditor.memit_factors(gpt2, PAIR, TEMPLATES, SETTINGS, moments)
    assert all(torch.equal(f.r, e.r) and torch.equal(f.u, e.u) for f, e in zip(found, expected, strict=True))
    for location, here in ((str(checkout), True), (None, False)):
        with easyeditor._imported(location) as easyedit:
            assert all(Path(m.__file__).is_relative_to(checkout) == here for m in vars(easyedit).values())


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("util/nethook.py", "import torch\n", "import torch, no_such_module\n", "No module named 'no_such_module'"),
        ("models/rome/compute_u.py", "get_inv_cov", "inverse_covariance", "no get_inv_cov"),
        ("models/rome/compute_v.py", 'f"loss ', 'f"Loss ', 'begin with "loss "'),
    ],
)
def test_a_checkout_that_cannot_be_run_is_refused(gpt2, checkout, file, old, new, message):
    rewrite(checkout / "easyeditor" / file, old, new)
    with pytest.raises(OnemaskError, match=message):
        easyeditor.rome_factors(gpt2, PAIR[0], TEMPLATES, SETTINGS, location=str(checkout))


def test_no_easyedit_is_said_with_the_way_to_get_it(gpt2, tmp_path, monkeypatch):
    with pytest.raises(OnemaskError, match="a checkout of EasyEdit; found no easyeditor"):
        easyeditor.rome_factors(gpt2, PAIR[0], TEMPLATES, SETTINGS, location=str(tmp_path / "nowhere"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(OnemaskError, match="pip install --no-deps easyeditor==0.0.1.dev0"):
        easyeditor.rome_factors(gpt2, PAIR[0], TEMPLATES, SETTINGS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings": with_settings(loss_threshold=0.1)}, "loss_threshold 0.05"),
        ({"settings": with_settings(mom2_adjustment=True)}, "second moment for mom2_adjustment"),
        ({"templates": TEMPLATES[1:]}, "as the first template"),
        ({"fact": PAIR[0] | {"prompt": "no place for it"}}, "exactly once"),
    ],
)
def test_what_easyedit_cannot_be_told_is_refused(gpt2, changes, message):
    with pytest.raises(OnemaskError, match=message):
        easyeditor.rome_factors(gpt2, **{"fact": PAIR[0], "templates": TEMPLATES, "settings": SETTINGS} | changes)


def test_memit_needs_every_layers_moment(gpt2):
    with pytest.raises(OnemaskError, match=r"none of \[2\]"):
        easyeditor.memit_factors(gpt2, PAIR, TEMPLATES, SETTINGS, {1: moment(gpt2)})


def test_only_devices_that_begin_with_cuda_are_replaced():
    with easyeditor._Devices(torch.device("meta")):
        assert torch.zeros(1, device="cuda:3").device.type == "meta"
        assert torch.zeros(1).to(torch.device("cuda", 0)).device.type == "meta"
        assert torch.zeros(1, device="cpu").device.type == "cpu"
