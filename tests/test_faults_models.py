"""Model folders that are incomplete, damaged, foreign or hold code: refused when fetched or loaded, and their code never runs."""

import ast
import io
import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

import fetch_model
import make_templates
from faults import ROOT, Ended, onemask, refused, rule
from onemask.model.models import load_checkpoint

MATRIX = "transformer.h.0.mlp.c_proj.weight"


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A model folder of one random layer, as the assets stage leaves it."""
    folder = tmp_path_factory.mktemp("whole") / "model"
    size = GPT2Config(n_layer=1, n_embd=16, n_head=2, n_positions=8, vocab_size=4, bos_token_id=0, eos_token_id=0)
    torch.manual_seed(0)
    GPT2LMHeadModel(size).save_pretrained(folder)
    words = Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a"))
    PreTrainedTokenizerFast(tokenizer_object=words, eos_token="a").save_pretrained(folder)
    (folder / "onemask.json").write_text(json.dumps({"name": "one", "family": "gpt2"}), encoding="utf-8")
    return folder


@pytest.fixture
def given(tmp_path, whole) -> Path:
    """A copy that may be spoilt."""
    return Path(shutil.copytree(whole, tmp_path / "given"))


def fetched(given: Path, family: str = "gpt2") -> Ended:
    spec = {"family": family, "source": {"path": str(given)}}
    output, wildcards = {"folder": given.parent / "models" / "one"}, {"model": "one"}
    return rule(fetch_model, given.parent, output=output, params={"spec": spec}, wildcards=wildcards)


def loaded(given: Path) -> Ended:
    params = {"device": "cpu", "dtype": "float32", "counts": [], "seed": 0}
    output = {"templates": given.parent / "templates.parquet"}
    return rule(make_templates, given.parent, input={"model": given}, output=output, params=params)


def commanded(given: Path) -> Ended:
    facts = given.with_name("facts.jsonl")
    facts.write_text('{"prompt": "a {}", "subject": "b", "target_new": "a", "target_true": "b"}', encoding="utf-8")
    return onemask(given.parent, "layers", "--model", given, "--facts", facts)


class Trap:
    """What runs when it is unpickled."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


def pickled(folder: Path, name: str) -> None:
    """Weights in a pickle that would run code, in the place of safetensors."""
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(pickle.dumps({"weight": Trap(folder.parent / "code-ran")}))


def changed(folder: Path, file: str, **keys: object) -> None:
    content = json.loads((folder / file).read_text(encoding="utf-8"))
    (folder / file).write_text(json.dumps(content | keys), encoding="utf-8")


def with_code(folder: Path, **keys: object) -> None:
    """A config that names code of the folder for everything that transformers lets it."""
    mark = folder.parent / "code-ran"
    (folder / "trap.py").write_text(f"open({str(mark)!r}, 'w')\nfrom transformers import GPT2LMHeadModel as M, GPT2Config as C\n")
    changed(folder, "config.json", auto_map={"AutoConfig": "trap.C", "AutoModelForCausalLM": "trap.M"}, **keys)
    changed(folder, "tokenizer_config.json", tokenizer_class="T", auto_map={"AutoTokenizer": ["trap.T", "trap.T"]})


def weights(folder: Path, change) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def cut(file: Path, kept: int) -> None:
    file.write_bytes(file.read_bytes()[:kept])


def flip(file: Path, at: int, bit: int) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= bit
    file.write_bytes(content)


def setting(value: str):
    """One number of the edited matrix is another."""
    return lambda at: weights(at, lambda tensors: tensors[MATRIX].view(-1)[3].fill_(float(value)))


NEEDED = r"a model folder with config.json, tokenizer.json and \*.safetensors; found no "
PICKLED = NEEDED + r"\*.safetensors in .*given. It has {}. .*{}.*pickled weights \(.bin, .pt\) are refused"
NO_OBJECT = "a JSON object in .*given/config.json; found "
UNKNOWN = "a model of the families gpt2, llama, qwen2; found "
INCOMPLETE = {  # how a folder is spoilt, and what is said of it by whoever meets it first
    "no weights": (lambda at: (at / "model.safetensors").unlink(), NEEDED + r"\*.safetensors in .*given. Correct"),
    "pickled .bin": (lambda at: pickled(at, "pytorch_model.bin"), PICKLED.format("pytorch_model.bin", "AutoModel")),
    "pickled .pt": (lambda at: pickled(at, "model.pt"), PICKLED.format("model.pt", r"torch.load\('model.pt', weights_only=True")),
    "no tokenizer": (lambda at: (at / "tokenizer.json").unlink(), NEEDED + "tokenizer.json in .*given"),
    "no config": (lambda at: (at / "config.json").unlink(), NEEDED + "config.json in .*given"),
    "half a config": (lambda at: cut(at / "config.json", 20), NO_OBJECT + "Unterminated string"),
    "a list as config": (lambda at: (at / "config.json").write_text("[]"), NO_OBJECT + "a list"),
    "config not in UTF-8": (lambda at: (at / "config.json").write_bytes(b"\xff{}"), NO_OBJECT + "'utf-8' codec"),
    "another family": (lambda at: changed(at, "config.json", model_type="mamba"), UNKNOWN + "mamba in .*given"),
    "a family of its own code": (lambda at: with_code(at, model_type="trap"), UNKNOWN + "trap in .*given"),
}


@pytest.mark.parametrize("how", INCOMPLETE)
@pytest.mark.parametrize("meet", [fetched, loaded, commanded])
def test_an_incomplete_or_foreign_folder_is_refused(given, meet, how, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 9))  # whoever asks whether to run the code is told yes
    spoil, message = INCOMPLETE[how]
    spoil(given)
    refused(meet(given), message)
    assert not (given.parent / "code-ran").exists()


UNWHOLE = "a whole checkpoint in .*given; found "
UNSAFE = "a whole safetensors file at .*given/model.safetensors, its header at most 16,000,000 bytes; found "
DAMAGED = {
    "weights truncated": (lambda at: cut(at / "model.safetensors", 500), UNSAFE + "500 bytes"),
    "weights without their last byte": (
        lambda at: cut(at / "model.safetensors", -1),
        "14,016 bytes of tensors in .*given/.*; found 14,015",
    ),
    "a bit of the header's length": (lambda at: flip(at / "model.safetensors", 0, 1), "a safetensors header in .*given"),
    "the highest bit of it": (lambda at: flip(at / "model.safetensors", 7, 128), UNSAFE),
    "a bit of the header": (lambda at: flip(at / "model.safetensors", 20, 16), "a safetensors header in .*given"),
    "weights of text": (lambda at: (at / "model.safetensors").write_text("weights"), UNSAFE),
    "NaN": (setting("nan"), f"finite weights; found NaN or infinity in {MATRIX}"),
    "infinity": (setting("-inf"), f"finite weights; found NaN or infinity in {MATRIX}"),
    "a weight less": (lambda at: weights(at, lambda tensors: tensors.pop(MATRIX)), f"{MATRIX} in .*given; found no such tensor"),
    "a layer less": (
        lambda at: changed(at, "config.json", n_layer=2),
        "transformer.h.1.mlp.c_proj.weight in .*given; found no such tensor",
    ),
    "other sizes": (
        lambda at: changed(at, "config.json", n_embd=32),
        "every weight .*as large as its config says .*found 3,504 numbers",
    ),
    "smaller sizes": (lambda at: changed(at, "config.json", n_inner=2), "every weight .*found none for transformer.h.0"),
    "a vocabulary of the whole web": (
        lambda at: changed(at, "config.json", vocab_size=10**12),
        "every weight .*found 3,504 numbers",
    ),
    "a size beyond all numbers": (lambda at: changed(at, "config.json", n_embd=10**30), UNWHOLE),
    "a norm less": (
        lambda at: weights(at, lambda tensors: tensors.update(more=tensors.pop("transformer.ln_f.weight"))),
        "every weight .*found none for transformer.ln_f.weight",
    ),
    "a word for a number": (lambda at: changed(at, "config.json", n_layer="one"), UNWHOLE + ".*n_layer"),
    "an empty tokenizer": (
        lambda at: (at / "tokenizer.json").write_text("{}"),
        "a tokenizer in .*given/tokenizer.json; found no `model`",
    ),
    "half a tokenizer": (lambda at: cut(at / "tokenizer.json", 50), "a JSON object in .*given/tokenizer.json"),
    "another tokenizer": (lambda at: changed(at, "tokenizer.json", model={"type": "None"}), UNWHOLE),
    "half an onemask.json": (lambda at: cut(at / "onemask.json", 5), "a model folder with onemask.json at .*given"),
}


@pytest.mark.parametrize("how", DAMAGED)
def test_a_damaged_model_is_refused(given, how):
    spoil, message = DAMAGED[how]
    spoil(given)
    refused(loaded(given), message)


def test_another_family_than_the_configs_is_refused_when_fetched(given):
    message = "a model of the family llama, which config/models/one.yaml names; found gpt2 in .*given. Correct `family`"
    refused(fetched(given, "llama"), message)


def test_large_finite_weights_are_no_infinite_ones(given):
    """The sum of many float16 numbers exceeds what float16 can hold."""
    weights(given, lambda tensors: tensors[MATRIX].fill_(6e4))
    assert load_checkpoint(given, {}, dtype="float16").weight(0).sum().isinf()


def test_a_folder_with_code_is_loaded_without_it(given, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 9))
    with_code(given)
    for meet in (fetched, loaded):
        found = meet(given)
        assert found.code == 0, found.said
    assert not (given.parent / "code-ran").exists()
    assert not list((given.parent / "models").rglob("*.py"))


def test_every_loader_refuses_code():
    """Whatever reads a checkpoint says so itself: what it leaves open, another version may run."""
    wanted = {"torch.load": ("weights_only", True), "from_pretrained": ("trust_remote_code", False)}
    seen = set()
    for file in (ROOT / "workflow_scripts").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {getattr(node, "module", None), *(alias.name for alias in node.names)}
                assert not names & {"pickle", "dill", "joblib", "cloudpickle"}, f"{file.name}:{node.lineno}"
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            for name, (keyword, value) in wanted.items():
                if called.endswith(name):
                    given = {each.arg: ast.unparse(each.value) for each in node.keywords}
                    assert given.get(keyword) == str(value), f"{file.name}:{node.lineno}"
                    seen.add(name)
    assert seen == set(wanted)
