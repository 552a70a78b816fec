"""The conda environments: each holds what its rules' scripts import and all that this brings, at the versions of the lock."""

import ast
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import write_environments
from onemask.io.codehash import files_behind
from write_environments import canonical
from write_lock import OF_TORCH

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ROOT / "workflow_scripts"
ENVIRONMENTS = sorted(path.name for path in (ROOT / "envs").glob("*.yaml"))
TABLE = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["onemask"]["environments"]
OURS = {"onemask", "job"} | {path.stem for path in SCRIPTS.glob("*.py")}
PACKAGE = {"yaml": "PyYAML"}  # what is not named as it is imported
# used without an import of ours, and by what
BEHIND = {
    "model.yaml": {"accelerate": "transformers, to place weights", "gguf": "transformers, to read a wheel's GGUF"},
    "figures.yaml": {"tabulate": "pandas.DataFrame.to_markdown"}
    | dict.fromkeys(["contourpy", "fonttools", "kiwisolver", "pillow"], "matplotlib, whose figures' bytes they decide"),
    "easyeditor.yaml": dict.fromkeys(["huggingface_hub", "matplotlib", "PyYAML", "datasets", "scipy"], "EasyEdit"),
    "workflow.yaml": {"snakemake": "make_report.py, as a command"},
}
# imported where a function begins: models.load_checkpoint behind read_mask, and the tests of measures.py
NEVER_CALLED = {"figures.yaml": {"transformers"}, "workflow.yaml": {"scipy"}}
READ_BY_SNAKEMAKE = [
    SCRIPTS / "onemask" / f"{name}.py" for name in ("io/codehash", "config/load", "config/place", "cluster/jobs", "masking/names")
]  # rules/common.smk
# modules that a script loads by name
BY_NAME = {
    "draw_figure.py": sorted((SCRIPTS / "onemask" / "figures").glob("*.py")),
    "edit_facts.py": sorted((SCRIPTS / "onemask" / "editors").glob("*.py")),
    "measure_blocking.py": sorted((SCRIPTS / "onemask" / "editors").glob("*.py")),
    "make_report.py": READ_BY_SNAKEMAKE,
    "measure_mechanism.py": [
        SCRIPTS / "onemask" / "measuring" / "mechanism" / f"{way}.py" for way in ("activations", "attention", "patching")
    ],
}


def packages(name: str) -> dict[str, str]:
    """Versions of all that an environment's file lists, by canonical name."""
    content = yaml.safe_load((ROOT / "envs" / name).read_text(encoding="utf-8"))
    assert content["channels"] == ["conda-forge"] and set(content) == {"channels", "dependencies"}
    (from_pip,) = (part["pip"] for part in content["dependencies"] if isinstance(part, dict))
    versions = dict(line.partition(" ; ")[0].split("==") for line in from_pip)
    assert len(versions) == len({canonical(package) for package in versions})
    return {canonical(package): version for package, version in versions.items()}


def direct(name: str) -> set[str]:
    """Packages that pyproject.toml names for an environment, without extras."""
    return {package.partition("[")[0] for package in TABLE[name.removesuffix(".yaml")]}


def used() -> dict[str, set[str]]:
    """Scripts by environment, as the rules name both."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "rules").glob("*.smk"):
        for rule in re.split(r"^\s*rule\b", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
            (script,) = re.findall(r'script:\s+"\.\./workflow_scripts/(\w+\.py)"', rule)
            environment = re.findall(r'conda:\s+(?:#.*\s+)*"\.\./envs/(\w+\.yaml)"', rule)
            for name in environment or ["model.yaml", "easyeditor.yaml"]:  # EDITING_ENVIRONMENT: one or the other
                found.setdefault(name, set()).add(script)
    return found


def imports(files: list[Path]) -> set[str]:
    """Packages of others that files import, as pip names them."""
    found = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.split(".")[0])
    return {PACKAGE.get(name, name) for name in found - OURS - set(sys.stdlib_module_names)}


def test_every_rule_names_an_environment_that_is_there():
    assert set(used()) == set(ENVIRONMENTS)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_an_environment_is_as_it_is_generated(name):
    assert (ROOT / "envs" / name).read_text(encoding="utf-8") == write_environments.content(name.removesuffix(".yaml"))


def test_an_environment_keeps_the_comment_at_its_head():
    assert all((ROOT / "envs" / name).read_text(encoding="utf-8").startswith("# ") for name in ENVIRONMENTS)


def brought(names: list[str]) -> set[str]:
    """All that packages ask for here, in turn, as their own metadata says it: they themselves, and extras that are asked for."""
    queue, found = [Requirement(name) for name in names], set()
    while queue:
        requirement = queue.pop()
        extras = requirement.extras | {""}
        if OF_TORCH.match(canonical(requirement.name)) and requirement.name != "torch":
            continue  # of torch's CUDA wheels, which name these versions themselves
        for extra in extras - {extra for name, extra in found if name == canonical(requirement.name)}:
            found.add((canonical(requirement.name), extra))
            asked = [Requirement(line) for line in importlib.metadata.requires(requirement.name) or []]
            queue += [other for other in asked if not other.marker or other.marker.evaluate({"extra": extra})]
    return {name for name, _ in found}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_an_environment_lists_all_that_its_packages_bring(name):
    table = TABLE[name.removesuffix(".yaml")]
    assert brought(table) <= set(packages(name)), brought(table) - set(packages(name))
    assert len(brought(table)) > len(table)


def test_what_draws_figures_holds_no_torch():
    assert "seaborn" in packages("figures.yaml")
    assert not {"torch", "transformers"} & set(packages("figures.yaml"))


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_an_environment_holds_what_its_scripts_import_and_nothing_else(name):
    files = [file for script in used()[name] for file in files_behind(SCRIPTS / script, *BY_NAME.get(script, []))]
    needed = imports([file for file in files if file.name != "job.py"])  # which loads torch only where a script wants it
    held, needed = direct(name), needed - NEVER_CALLED.get(name, set())
    assert needed <= held | {"easyeditor"} | ({"numpy"} if "pandas" in held else set()), needed - held
    assert held - needed <= {*BEHIND[name], "tqdm"}, held - needed  # tqdm: io/progress.py, which files_behind leaves out


def resolve(requirements: dict[str, str]) -> subprocess.CompletedProcess:
    """What pip's resolver says of versions, given no packages but those installed here."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "--quiet"]
    return subprocess.run([*command, *(f"{name}=={version}" for name, version in requirements.items())], capture_output=True)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_an_environments_versions_go_together(name):
    found = packages(name)
    done = resolve(found)
    assert done.returncode == 0, done.stderr.decode()
    assert resolve(found | {canonical(TABLE[name.removesuffix(".yaml")][0]): "0.0.1"}).returncode != 0


def with_nothing_else(name: str, held: set[str]) -> subprocess.CompletedProcess:
    """A process that finds the packages `held` alone, and does what the scripts of an environment do."""
    files = {file for script in used()[name] for file in files_behind(SCRIPTS / script, *BY_NAME.get(script, []))}
    modules = [".".join(file.relative_to(SCRIPTS).with_suffix("").parts).removesuffix(".__init__") for file in sorted(files)]
    told = json.dumps({"environment": name.removesuffix(".yaml"), "held": sorted(held), "modules": modules})
    command = [sys.executable, ROOT / "tests" / "nothing_else.py"]
    return subprocess.run(
        command, cwd=SCRIPTS, input=told, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(SCRIPTS)}
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "one"), [("figures.yaml", "tabulate"), ("model.yaml", "accelerate"), ("workflow.yaml", "pyarrow")]
)
def test_scripts_find_all_they_need_in_their_environment_and_miss_what_is_taken_out(name, one):
    of_torch = {
        canonical(package.name) for package in importlib.metadata.distributions() if OF_TORCH.match(canonical(package.name))
    }
    plugins = {f"snakemake-executor-plugin-{plugin}" for plugin in ("slurm", "slurm-jobstep")}  # which Snakemake lists and loads
    held = {*packages(name), "pip", "onemask", *plugins, *(of_torch if "torch" in packages(name) else ())}
    done = with_nothing_else(name, held)
    assert done.returncode == 0, done.stderr
    without = with_nothing_else(name, held - {one})
    assert without.returncode != 0 and one in without.stderr
