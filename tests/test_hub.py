"""Fetching models and corpora from a hub on loopback: first fetch, offline afterwards, and every way in which it can fail."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

import tiny_model
from conftest import ROOT, copy_of_project, snakemake
from loopback_hub import COMMIT, serving
from test_assets import checkpoint as checkpoint

CALL = """
import sys
from pathlib import Path
from onemask.io.errors import OnemaskError
from onemask.data.hub import cached_hub, fetch_hub
try:
    {}
except OnemaskError as error:
    sys.exit(f"onemask: {{error}}")
"""


@pytest.fixture
def hub(checkpoint):
    with serving(checkpoint) as found:
        yield found


def call(hub, home: Path, code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """Python code in a process of its own: the hub's library reads its environment when it is imported."""
    own = {"HF_ENDPOINT": hub.address, "HF_HOME": str(home), "PYTHONPATH": str(ROOT / "workflow_scripts")}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    command = [sys.executable, "-c", CALL.format(code), *arguments]
    return subprocess.run(command, env=inherited | own | environment, capture_output=True, text=True)


def fetch(hub, folder: Path, revision="main", repository="someone/tiny", **environment: str) -> subprocess.CompletedProcess:
    code = "fetch_hub(sys.argv[1], sys.argv[2], Path(sys.argv[3]))"
    return call(hub, folder.parent / "home", code, repository, revision, str(folder), **environment)


def left(folder: Path) -> list[str]:
    """Names beside a model's folder, but for the library's own home."""
    return sorted(path.name for path in folder.parent.iterdir() if path.name != "home")


def test_weights_and_what_reads_them_are_fetched(hub, checkpoint, tmp_path):
    folder = tmp_path / "tiny"
    hub.files |= {"pytorch_model.bin": b"pickled", "modeling_tiny.py": b"raise SystemExit"}
    run = fetch(hub, folder)
    assert run.returncode == 0, run.stderr
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(os.listdir(folder)) and left(folder) == ["tiny"]
    assert not {"pytorch_model.bin", "modeling_tiny.py"} & set(os.listdir(folder))
    assert (folder / "model.safetensors").read_bytes() == (checkpoint / "model.safetensors").read_bytes()


def test_what_was_fetched_into_the_hubs_cache_needs_no_network_afterwards(hub, tmp_path):
    """As `onemask edit --model someone/tiny` takes it."""
    code = 'print(cached_hub("someone/tiny"))'
    first, asked = call(hub, tmp_path, code), len(hub.asked)
    assert Path(first.stdout.strip()).name == COMMIT
    again = call(hub, tmp_path, code, HF_HUB_OFFLINE="1")
    assert again.stdout == first.stdout and len(hub.asked) == asked
    elsewhere = call(hub, tmp_path / "empty", code, HF_HUB_OFFLINE="1")
    assert elsewhere.returncode == 1 and "onemask: expected someone/tiny at revision main" in elsewhere.stderr


def large(hub) -> None:
    """Of a file the library writes 10 MB at a time."""
    hub.files["more.safetensors"] = bytes(24_000_000)


def test_a_transfer_that_breaks_off_once_goes_on_where_it_was(hub, tmp_path):
    large(hub)
    hub.cut = [11_000_000]
    run = fetch(hub, tmp_path / "tiny")
    assert run.returncode == 0, run.stderr
    (asked,) = hub.ranges
    assert 10_000_000 <= int(asked.removeprefix("bytes=").split("-")[0]) <= 11_000_000


def test_a_fetch_that_failed_goes_on_with_the_files_that_are_missing(hub, tmp_path):
    large(hub)
    folder, hub.cut = tmp_path / "tiny", [0] * 50
    run = fetch(hub, folder)
    assert run.returncode == 1 and "Check the network, then run again: what has arrived is kept." in run.stderr
    assert not folder.exists() and left(folder) == [f".someone--tiny.{COMMIT}"]
    hub.cut = []
    hub.asked.clear()
    run = fetch(hub, folder)
    assert run.returncode == 0, run.stderr
    got = [asked.rpartition("/")[2] for asked in hub.asked if asked.startswith("GET /someone")]
    assert got == ["more.safetensors"] and left(folder) == ["tiny"]


@pytest.mark.parametrize("name, kind", [("model.safetensors", "sha256"), ("config.json", "git object")])
def test_a_file_that_is_not_the_listed_one_is_refused_and_fetched_anew(hub, tmp_path, name, kind):
    folder = tmp_path / "tiny"
    hub.damaged = {name}
    run = fetch(hub, folder)
    assert run.returncode == 1 and not folder.exists() and "run again to fetch that file anew" in run.stderr
    assert f"for {name} of someone/tiny; found {kind}" in run.stderr
    hub.damaged = set()
    assert fetch(hub, folder).returncode == 0


REFUSED = {
    "another family": ("config.json", {"model_type": "mistral"}, "families gpt2, llama, qwen2; found mistral in someone/tiny"),
    "quantised": (
        "config.json",
        {"model_type": "gpt2", "quantization_config": {"quant_method": "gptq"}},
        "quantised ones (gptq)",
    ),
    "weights alone": ("config.json", None, "a model with config.json in someone/tiny; found no such file"),
    "an adapter": ("adapter_config.json", {"peft_type": "LORA"}, "an adapter (adapter_config.json). Merge it"),
}


@pytest.mark.parametrize("code", ['cached_hub("someone/tiny")', 'fetch_hub("someone/tiny", "main", Path("tiny"))'])
@pytest.mark.parametrize("how", REFUSED)
def test_what_cannot_be_edited_is_refused_before_its_weights_are_fetched(hub, tmp_path, monkeypatch, how, code):
    monkeypatch.chdir(tmp_path)
    name, content, message = REFUSED[how]
    if content is None:
        del hub.files[name]
    else:
        hub.files[name] = json.dumps(content).encode()
    run = call(hub, tmp_path / "home", code)
    assert run.returncode == 1 and message in run.stderr and "Traceback" not in run.stderr
    assert not any("safetensors" in asked for asked in hub.asked if asked.startswith("GET"))
    assert left(tmp_path / "tiny") == []


@pytest.mark.parametrize(
    "revision, repository, message",
    [
        ("v2", "someone/tiny", "revision v2 of someone/tiny; found no such revision. Correct `revision`"),
        ("f" * 40, "someone/tiny", f"revision {'f' * 40} of someone/tiny; found no such revision"),
        ("main", "someone/else", "someone/else on the hub; found no such repository. Correct the name"),
        ("main", "no name at all", "no name at all at revision main"),
    ],
)
def test_what_is_not_there_is_named(hub, tmp_path, revision, repository, message):
    run = fetch(hub, tmp_path / "tiny", revision, repository)
    assert run.returncode == 1 and message in run.stderr and "Traceback" not in run.stderr
    assert left(tmp_path / "tiny") == []


def test_a_gated_model_needs_a_token_of_an_account_with_access(hub, tmp_path):
    hub.token = "hf_right"
    without, wrong = (fetch(hub, tmp_path / "tiny", **given) for given in ({}, {"HF_TOKEN": "hf_wrong"}))
    for run, found in ((without, "none"), (wrong, "one without access")):
        said = f"a token for someone/tiny, which is gated; found {found}. Accept its licence at {hub.address}/someone/tiny"
        assert run.returncode == 1 and said in run.stderr and "HF_TOKEN" in run.stderr
    assert not (tmp_path / "tiny").exists()
    run = fetch(hub, tmp_path / "tiny", HF_TOKEN="hf_right")
    assert run.returncode == 0, run.stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"hf_right" in path.read_bytes()]


def test_a_hub_that_cannot_be_reached_is_named(hub, tmp_path):
    run = fetch(hub, tmp_path / "tiny", HF_ENDPOINT="http://127.0.0.1:9")
    assert run.returncode == 1 and "someone/tiny at revision main from http://127.0.0.1:9" in run.stderr
    assert "Traceback" not in run.stderr


def project_with(folder: Path, hub: str) -> Path:
    """A project whose tiny model comes from a repository of the hub that the run's key `hub` names."""
    project = copy_of_project(folder)
    path = project / "config" / "models" / "tiny-gpt2.yaml"
    model = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump(model | {"source": {"hub": "someone/tiny", "revision": COMMIT}}), encoding="utf-8")
    run = project / "config" / "test.yaml"
    run.write_text(run.read_text(encoding="utf-8") + f"hub: {hub}\n", encoding="utf-8")
    return project


CORPUS = """
import json, sys
from onemask.data.corpus import fetch_corpus
from onemask.io.errors import OnemaskError
source = {"name": "short", "split": "test", "part": "perplexity", "hub": sys.argv[1], "revision": sys.argv[2]}
try:
    print(fetch_corpus(source)["text"].tolist())
except OnemaskError as error:
    sys.exit(f"onemask: {error}")
"""


@pytest.fixture
def corpus(tmp_path) -> Path:
    """A data set as the hub holds it: which files make which part stands in its README."""
    folder = tmp_path / "someone" / "texts"
    folder.mkdir(parents=True)
    parts = [{"config_name": "short", "data_files": [{"split": "test", "path": "text.parquet"}]}]
    (folder / "README.md").write_text(f"---\n{yaml.safe_dump({'configs': parts})}---\n", encoding="utf-8")
    pd.DataFrame({"text": ["one", "", "two"]}).to_parquet(folder / "text.parquet")
    return folder


def fetch_texts(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    own = {"HF_HOME": str(home), "PYTHONPATH": str(ROOT / "workflow_scripts")}
    command = [sys.executable, "-c", CORPUS, *arguments]
    return subprocess.run(command, env=os.environ | own | environment, capture_output=True, text=True)


def test_a_corpus_is_fetched_by_revision(corpus, tmp_path):
    with serving(corpus) as hub:
        run = fetch_texts(tmp_path / "home", "someone/tiny", COMMIT, HF_ENDPOINT=hub.address)
        assert run.stdout.strip() == "['one', 'two']", run.stderr
        run = fetch_texts(tmp_path / "home", "someone/tiny", "v9", HF_ENDPOINT=hub.address)
    assert run.returncode == 1 and "texts of someone/tiny (short, test) at revision v9" in run.stderr


def test_a_corpus_of_a_sites_folder_needs_no_hub(corpus, tmp_path):
    run = fetch_texts(tmp_path / "home", str(corpus), COMMIT, HF_ENDPOINT="http://127.0.0.1:9")
    assert run.stdout.strip() == "['one', 'two']", run.stderr


MODEL = "results/assets/models/tiny-gpt2"


def test_the_pipeline_fetches_once_and_needs_no_hub_afterwards(tmp_path):
    with serving(tiny_model.make()) as hub:
        project = project_with(tmp_path, hub.address)
        snakemake(project, MODEL)
    info = json.loads((project / MODEL / "onemask.json").read_text())
    assert (info["id"], info["revision"], len(info["sha256"])) == ("someone/tiny", COMMIT, 64)
    again = snakemake(project, MODEL)
    assert "Nothing to be done" in again.stdout + again.stderr


def test_a_sites_folder_stands_for_the_hub(tmp_path):
    (tmp_path / "site" / "someone").mkdir(parents=True)
    (tmp_path / "site" / "someone" / "tiny").symlink_to(tiny_model.make())
    project = project_with(tmp_path, str(tmp_path / "site"))
    snakemake(project, MODEL)
    assert (project / MODEL / "model.safetensors").is_file()
    (tmp_path / "site" / "someone" / "tiny").unlink()
    run = snakemake(project, MODEL, check=False)
    assert run.returncode == 1 and "someone/tiny in the folder of the key hub" in run.stdout + run.stderr
