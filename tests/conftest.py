"""What tests share: random models of each family, the tiny one that knows some facts, and a finished run of it."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from hypothesis import settings
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

import tiny_model
from killing import command, run_and_kill
from onemask.model.models import Model, load_model

torch.set_num_threads(1)  # the models are tiny, and tests run side by side

# the same examples each time, a minute of them; `make fuzz` looks for new ones
settings.register_profile("quick", max_examples=60, deadline=None, derandomize=True, database=None)
settings.register_profile("fuzz", max_examples=20_000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


OF_THE_RUN = ("test_pipeline.py", "test_report.py", "test_archive.py", "test_killed.py")  # change it, and mend it again


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those of the finished run, which take longest, come first, and then SLURM's, which mostly wait.

    Whole files of SLOW are marked, so that `make check` may leave them out.
    """
    for item in items:
        if item.path.name in SLOW:
            item.add_marker(pytest.mark.slow)
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker(pytest.mark.property)
    items.sort(key=lambda item: (item.path.name not in OF_THE_RUN, item.path.name != "test_slurm.py"))


# start processes that each load torch or make a graph of jobs: seconds a test
SLOW = (
    *OF_THE_RUN,
    *("test_slurm.py", "test_hub.py", "test_easyeditor.py", "test_resumed.py", "test_registry.py", "test_shapes.py"),
    *("test_cli.py", "test_mechanism_figures.py", "test_study_figures.py"),
    *(f"test_faults_{kind}.py" for kind in ("command", "config", "facts", "files", "models", "places")),
)


class ByFile(LoadScopeScheduling):
    """A file's tests stay together, and so do those of the finished run."""

    def _split_scope(self, nodeid: str) -> str:
        name = Path(nodeid.split("::")[0]).name
        return "the run" if name in OF_THE_RUN else name


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFile:
    return ByFile(config, log)


SIZE = {"vocab_size": 4000, "bos_token_id": 0, "eos_token_id": 0}
LLAMA_SIZE = SIZE | {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,
}


# of each family, and with the options of its config that change what a block computes
VARIANTS = {
    "gpt2": ("gpt2", {}),
    "gpt2-scaled": ("gpt2", {"scale_attn_weights": False, "scale_attn_by_inverse_layer_idx": True, "tie_word_embeddings": False}),
    "llama": ("llama", {}),
    "llama-biased": (
        "llama",
        {
            "attention_bias": True,
            "mlp_bias": True,
            "tie_word_embeddings": True,
            "rope_parameters": {"rope_type": "linear", "factor": 3.0, "rope_theta": 500.0},
        },
    ),
    "qwen2": ("qwen2", {}),
    "qwen2-windows": ("qwen2", {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1}),
}


def random_network(family: str, **options) -> AutoModelForCausalLM:
    torch.manual_seed(1)
    if family == "gpt2":
        size = {"n_positions": 64, "n_embd": 32, "n_inner": 48, "n_layer": 4, "n_head": 4, "initializer_range": 0.2}
        network = GPT2LMHeadModel(GPT2Config(**size | SIZE | options))
    elif family == "llama":
        network = LlamaForCausalLM(LlamaConfig(**LLAMA_SIZE | options))
    else:
        network = Qwen2ForCausalLM(Qwen2Config(**LLAMA_SIZE | options))
    with torch.no_grad():  # biases and norm weights start at 0 and 1, which would hide a forgotten one
        for parameter in network.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.2 * torch.randn_like(parameter))
    return network


@pytest.fixture(scope="session")
def tokenizer():
    return tiny_model.make_tokenizer(tiny_model.sentences())


@pytest.fixture(scope="session", params=[pytest.param(name, marks=[pytest.mark.slow] * ("-" in name)) for name in VARIANTS])
def model(request, tokenizer) -> Model:
    """A random model of each variant; tests must leave its weights as they were."""
    family, options = VARIANTS[request.param]
    return Model(random_network(family, **options).double(), tokenizer, family)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Model:
    """The tiny GPT-2 that knows its facts."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    folder.mkdir()
    for file in tiny_model.make().iterdir():
        (folder / file.name).symlink_to(file)
    (folder / "onemask.json").write_text(json.dumps({"name": "tiny", "family": "gpt2"}))
    return load_model(folder)


FACTS = [
    {"case_id": 0, "relation_id": "P17", "prompt": "The country where {} is located is", "subject": "Kyoto",
     "target_true": "Japan", "target_new": "South Korea"},
    {"case_id": 1, "relation_id": "P103", "prompt": "The mother tongue of {} is", "subject": "Victor Hugo",
     "target_true": "French", "target_new": "Russian"},
    {"case_id": 2, "relation_id": "P30", "prompt": "The continent where {} is located is", "subject": "Mount Everest",
     "target_true": "Asia", "target_new": "South America"},
    {"case_id": 3, "relation_id": "P17", "prompt": "{} lies within the borders of", "subject": "Lyon",
     "target_true": "France", "target_new": "New Zealand"},
]  # fmt: skip
TEMPLATES = ["{}", "The weather was mild. {}", "It is known that so it is. {}"]


ROOT = Path(__file__).resolve().parent.parent
PARTS = ("Snakefile", "LICENSE", "rules", "workflow_scripts", "config", "profiles", "slurm", "envs")


def snakemake(project: Path, *arguments: str, config: str = "test", check: bool = True) -> subprocess.CompletedProcess:
    """Run `snakemake` as a user does, with a file of config/, which may be the test's own."""
    run = subprocess.run(command(*arguments, config=config), cwd=project, capture_output=True, text=True)
    assert not check or run.returncode == 0, run.stdout[-3000:] + run.stderr[-6000:]
    return run


def copy_of_project(folder: Path) -> Path:
    """What a run needs of this project and the tiny model, in a folder whose name holds a space."""
    project = folder / "one mask"
    project.mkdir()
    for part in PARTS:
        source = ROOT / part
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, project / part, ignore=ignore) if source.is_dir() else shutil.copy(source, project / part)
    cache = project / "tests" / ".cache"
    cache.mkdir(parents=True)
    tiny_model.make()
    for file in tiny_model.CACHE.iterdir():
        (cache / file.name).symlink_to(file)
    return project


@pytest.fixture(scope="session")
def project(tmp_path_factory) -> Path:
    """The finished run, killed in every stage on its way; one for all processes that tests run in."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with FileLock(folder / "run.lock"):
        if not (folder / "run.done").exists():
            (folder / "run.done").write_text(json.dumps(run_and_kill(copy_of_project(folder))))
    return folder / "one mask"
