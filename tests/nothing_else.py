"""A process that finds no packages but those of an environment: it imports what the scripts do, and uses it as they do.

Snakemake puts its own packages behind an environment's, so that one that is missing there would go unnoticed. Reads JSON from
standard input: the environment, its packages, modules to import. `tests/test_environments.py` starts it.
"""

import importlib
import importlib.machinery
import importlib.metadata
import io
import json
import os
import re
import sys
import tempfile
from pathlib import Path


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


class Held:
    """Finds modules of the packages that are held, and of Python's own, and no others."""

    def __init__(self, held: set[str]):
        brought = importlib.metadata.packages_distributions()
        self.held, self.packages = held, {module: set(map(canonical, names)) for module, names in brought.items()}

    def find_spec(self, name: str, path: object = None, target: object = None) -> importlib.machinery.ModuleSpec | None:
        foreign = name in self.packages and not self.packages[name] & self.held
        return None if foreign else importlib.machinery.PathFinder.find_spec(name, path, target)  # ty: ignore

    def find_distributions(self, context: object) -> list[importlib.metadata.Distribution]:
        found = importlib.machinery.PathFinder.find_distributions(context)  # ty: ignore
        return [package for package in found if canonical(package.name) in self.held]


def use_figures() -> None:
    """A table in each of its forms, and a figure."""
    import pandas as pd
    from matplotlib.figure import Figure

    frame = pd.DataFrame({"a": [1.0]})
    frame.to_markdown()
    pd.read_parquet(io.BytesIO(frame.to_parquet()))
    for kind in ("png", "pdf"):
        Figure().savefig(io.BytesIO(), format=kind)


def use_model() -> None:
    """A checkpoint as it is loaded, which needs accelerate; a data set; a Parquet file."""
    import datasets
    import pandas as pd
    import transformers
    from transformers.utils import is_gguf_available

    pd.read_parquet(io.BytesIO(pd.DataFrame({"a": [1.0]}).to_parquet()))
    datasets.Dataset.from_dict({"text": ["a"]}).map(lambda row: row)
    folder = tempfile.mkdtemp()
    size = transformers.GPT2Config(vocab_size=2, n_positions=4, n_embd=4, n_layer=1, n_head=1, bos_token_id=0, eos_token_id=0)
    transformers.GPT2LMHeadModel(size).save_pretrained(folder)
    transformers.AutoModelForCausalLM.from_pretrained(folder, device_map="cpu")
    if not is_gguf_available():
        raise ImportError("No module named 'gguf'")


def use_workflow() -> None:
    """The graph of jobs, as for the report."""
    from snakemake import cli

    sys.stdout = io.StringIO()
    cli.main(["-n", "--quiet", "all", "--nolock", "--cores", "1", "--configfile", "config/test.yaml"])


if __name__ == "__main__":
    told = json.load(sys.stdin)
    sys.meta_path[sys.meta_path.index(importlib.machinery.PathFinder)] = Held(set(told["held"]))
    for module in told["modules"]:
        importlib.import_module(module)
    os.chdir(Path(__file__).resolve().parent.parent)
    globals()[f"use_{told['environment']}"]()
