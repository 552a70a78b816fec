"""One registry of editors: what it says is what their modules and schemas say, and a new one is seen wherever editors are."""

import dataclasses
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import PARTS
from onemask import editors
from onemask.config.load import editing_keys, read_yaml
from onemask.editors import registry
from onemask.editors.registry import EDITORS
from run_configs import ROOT


def test_names_are_keys_and_every_title_is_another():
    assert all(name == editor.name for name, editor in EDITORS.items())
    assert len({editor.title for editor in EDITORS.values()}) == len(EDITORS)


def test_the_schema_has_every_editor_in_the_registrys_order():
    assert list(editing_keys(ROOT)) == list(EDITORS)


@pytest.mark.parametrize("name", EDITORS)
def test_an_editors_settings_are_its_schemas(name):
    editor, keys = EDITORS[name], editing_keys(ROOT)[name]
    module = editors.load(name)
    assert {field.name for field in dataclasses.fields(module.Settings)} == keys - {"templates"}
    assert ("layers" in keys, "layer" in keys) == (editor.several_layers, not editor.several_layers)
    assert editor.second_moment in {"never", "always"} | keys
    assert list(inspect.signature(module.edit).parameters)[:2] == ["task", "settings"]
    assert editors.module_file(name) == Path(module.__file__)


@pytest.mark.parametrize(
    ("name", "settings", "layers", "moments"),
    [
        ("rome", {"layer": 3, "mom2_adjustment": False}, [3], []),
        ("rome", {"layer": 3, "mom2_adjustment": True}, [3], [3]),
        ("memit", {"layers": [1, 2]}, [1, 2], [1, 2]),
        ("ft-l", {"layer": 0}, [0], []),
    ],
)
def test_layers_and_second_moments_follow_from_settings(name, settings, layers, moments):
    assert EDITORS[name].layers(settings) == layers and EDITORS[name].moment_layers(settings) == moments


def test_names_in_a_sentence():
    assert registry.listed(["a"], "or") == "a" and registry.listed(["a", "b", "c"], "or") == "a, b or c"


def test_the_docs_show_the_registrys_table():
    assert registry.markdown() in (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")


def test_nothing_else_lists_editors():
    """No other file of the library or the rules has the names of three editors or more."""
    files = [*(ROOT / "workflow_scripts").rglob("*.py"), *(ROOT / "rules").glob("*.smk")]
    for path in files:
        names = set(re.findall(r'"([\w-]+)"', path.read_text(encoding="utf-8"))) & set(EDITORS)
        assert len(names) < 3 or path.name == "registry.py", (path, names)


# what adds an editor: its module, its line of the registry, its keys and their values
LINE = '        Editor("rome-copy", "ROME copied", second_moment="mom2_adjustment"),\n'
KEYS = "  rome-copy: {description: A copy., type: object, additionalProperties: false, properties: *rome}\n"
SEEN = """
import json, sys
from onemask.commands.cli import parser
from onemask.config.load import SHIPPED, load_run, read_yaml
from onemask.editors import registry
from onemask.figures import transfer
from onemask.planning.plan import operations
from onemask.summaries import tables
from onemask.commands.edit import method_settings

config = read_yaml(SHIPPED / "config" / "demo.yaml") | {"methods": ["rome", "rome-copy"]}
config["editing"]["rome-copy"] = config["editing"]["rome"]
run = load_run(config, SHIPPED)
help = next(action for action in parser()._subparsers._group_actions[0].choices["edit"]._actions if action.dest == "method").help
print(json.dumps({
    "help": help,
    "settings": method_settings("rome-copy", None, [3])["layer"],
    "plan": [operations(run, "smollm2-135m", method) for method in run.methods],
    "order": tables.ORDER,
    "figure": transfer.METHODS,
    "docs": registry.markdown(),
}))
"""


@pytest.fixture(scope="module")
def extended(tmp_path_factory) -> Path:
    """The project with an editor more: ROME's code under another name."""
    project = tmp_path_factory.mktemp("extended")
    for part in PARTS:
        source = ROOT / part
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, project / part, ignore=ignore) if source.is_dir() else shutil.copy(source, project / part)
    folder = project / "workflow_scripts" / "onemask" / "editors"
    shutil.copy(folder / "rome.py", folder / "rome_copy.py")
    added = {
        folder / "registry.py": (re.compile(r'(        Editor\("ft-l".*\n)'), rf"\1{LINE}"),
        project / "config/schemas/methods.schema.yaml": (re.compile(r"\Z"), KEYS),
        project / "config/defaults.yaml": (re.compile(r"(  r-rome: \*rome\n)"), r"\1  rome-copy: *rome\n"),
    }
    for path, (pattern, text) in added.items():
        content = path.read_text(encoding="utf-8")
        assert pattern.search(content)
        path.write_text(pattern.sub(text, content, count=1), encoding="utf-8")
    return project


def in_it(project: Path, *command: str) -> str:
    paths = {"PYTHONPATH": str(project / "workflow_scripts")}
    run = subprocess.run([sys.executable, *command], cwd=project, env=os.environ | paths, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
    return run.stdout


def test_an_editor_more_is_seen_wherever_editors_are(extended):
    found = json.loads(in_it(extended, "-c", SEEN))
    assert found["help"] == "rome, r-rome, memit, emmet, alphaedit, ft-l or rome-copy (default: rome)"
    assert found["settings"] == 3
    assert found["plan"][0] == found["plan"][1]
    assert found["order"][-2:] == ["ft-l", "rome-copy"]
    assert found["figure"]["rome-copy"] == "ROME copied"
    assert (
        "| `rome-copy` | ROME copied | single: each fact on its own | one (`layer`) | with `mom2_adjustment` |" in found["docs"]
    )


def test_an_editor_more_is_edited_masked_and_drawn(extended):
    config = read_yaml(extended / "config" / "demo.yaml") | {"methods": ["rome", "rome-copy"]}
    config["editing"] |= {"rome-copy": config["editing"]["rome"]}
    config["studies"] = {"transfer": ["rome", "rome-copy"]}
    (extended / "run.json").write_text(json.dumps(config), encoding="utf-8")
    said = in_it(extended, "-m", "snakemake", "-n", "--quiet", "host", "reason", "--configfile", "run.json")
    for rule in ("edit_facts", "train_mask", "measure_blocking", "measure_transfer"):
        jobs = re.findall(rf"^rule {rule}:\n(?: .*\n)*? +wildcards: (.*)$", said, re.M)
        assert sum("method=rome-copy" in job for job in jobs) == sum("method=rome," in f"{job}," for job in jobs) > 0, rule
