"""A run's config loads with its defaults and merged settings; every bad one is refused by key, with advice."""

import copy
import shutil
from pathlib import Path

import pytest
import yaml

from onemask.config import check, load_model_settings, load_run
from onemask.errors import OnemaskError

ROOT = Path(__file__).resolve().parents[1]
SCHEMAS = ROOT / "config" / "schemas"
RUNS = ("demo", "paper", "test")
REMOVED = object()
DESCRIBED = "each key is described in config/schemas"


def read(name: str) -> dict:
    return yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text(encoding="utf-8"))


def changed(content: dict, path: str, value: object) -> dict:
    """A copy of `content` with the dotted `path` set to `value`, or taken out where it is REMOVED."""
    content = copy.deepcopy(content)
    *outer, last = path.split(".")
    place = content
    for key in outer:
        place = place[int(key)] if isinstance(place, list) else place.setdefault(key, {})
    if value is REMOVED:
        del place[last]
    else:
        place[last] = value
    return content


def refusal(content: object, root: Path = ROOT) -> str:
    with pytest.raises(OnemaskError) as caught:
        load_run(content, root)
    return str(caught.value)


def copied_root(folder: Path) -> Path:
    """A project root of its own, whose config may be changed."""
    shutil.copytree(ROOT / "config", folder / "config")
    return folder


@pytest.mark.parametrize("name", RUNS)
def test_every_run_loads(name):
    run = load_run(read(name), ROOT)
    assert run["run"] == name
    assert list(run["model_settings"]) == read(name)["models"]
    assert set(run["corpus_sources"]) == set(read(name)["corpora"].values())
    for settings in run["model_settings"].values():
        assert {"layer", "steps", "lr", "weight_decay", "kl_factor", "clamp_norm_factor"} <= set(settings["rome"])
        assert {"gamma", "epochs", "s_max", "lambda_end", "validation_share"} <= set(settings["mask"])


def test_no_run_is_forgotten_here():
    assert {path.stem for path in (ROOT / "config").glob("*.yaml")} == {*RUNS, "defaults"}


@pytest.mark.parametrize(
    "path, default",
    [
        ("seed", 0),
        ("facts.splits", "sampled"),
        ("facts.ood_relations", []),
        ("facts.path", None),
        ("facts.only_known", False),
        ("mask_seeds", [0]),
        ("statistics.tokens", 100000),
        ("statistics.window", 256),
        ("perplexity.tokens", 70000),
        ("perplexity.window", 1024),
        ("perplexity.edits", 1000),
        ("decomposition.facts", 1000),
        ("scoring_batch_tokens", 4000),
    ],
)
def test_a_missing_key_gets_its_default(path, default):
    content = read("demo")
    outer, _, last = path.rpartition(".")
    (content[outer] if outer else content).pop(last, None)
    filled = load_run(content, ROOT)
    assert (filled[outer] if outer else filled)[last] == default


def test_a_missing_section_is_filled_whole():
    filled = load_run(changed(read("demo"), "perplexity", REMOVED), ROOT)
    assert filled["perplexity"] == {"tokens": 70000, "window": 1024, "edits": 1000}


def test_defaults_are_not_shared_between_two_loads():
    first = load_run(changed(read("demo"), "facts.ood_relations", REMOVED), ROOT)
    first["facts"]["ood_relations"].append("P1")
    second = load_run(changed(read("demo"), "facts.ood_relations", REMOVED), ROOT)
    assert second["facts"]["ood_relations"] == []


def test_a_models_device_and_type_have_defaults():
    settings = load_run(read("test"), ROOT)["model_settings"]["tiny-gpt2"]
    assert (settings["device"], settings["dtype"]) == ("cpu", "float32")


@pytest.mark.parametrize(
    "in_model, in_run, expected",
    [({}, {}, 0.5), ({"lr": 0.4}, {}, 0.4), ({}, {"lr": 0.3}, 0.3), ({"lr": 0.4}, {"lr": 0.3}, 0.3)],
)
def test_settings_merge_defaults_then_model_then_run(tmp_path, in_model, in_run, expected):
    root = copied_root(tmp_path)
    path = root / "config" / "models" / "tiny-gpt2.yaml"
    model = yaml.safe_load(path.read_text())
    model["rome"] |= in_model
    path.write_text(yaml.safe_dump(model))
    settings = load_model_settings("tiny-gpt2", {"rome": in_run, "mask": {}}, root)
    assert settings["rome"]["lr"] == expected
    assert settings["rome"]["layer"] == 1


def test_local_paths_are_taken_from_the_root():
    run = load_run(read("test"), ROOT)
    assert run["model_settings"]["tiny-gpt2"]["source"]["path"] == str(ROOT / "tests/.cache/tiny-gpt2")
    assert run["corpus_sources"]["tiny"]["path"] == str(ROOT / "tests/.cache/tiny-corpus.txt")


@pytest.mark.parametrize(
    "path, value, named, advice",
    [
        ("mdoels", [], "'mdoels'", "Did you mean 'models'?"),
        ("facts.relation", ["P17"], "at facts: ", "Did you mean 'relations'?"),
        ("mask.gama", 0.5, "'gama'", "Did you mean 'gamma'?"),
        ("rome.stepps", 20, "'stepps'", "Did you mean 'steps'?"),
        ("perplexity.windows", 64, "'windows'", "Did you mean 'window'?"),
        ("facts.per_relation.tests", 3, "at facts.per_relation: ", "Did you mean 'test'?"),
        ("zzz", 1, "'zzz'", DESCRIBED),
        ("mask.gamma", 1.5, "at mask.gamma: 1.5 ", DESCRIBED),
        ("mask.epochs", -3, "at mask.epochs: -3 ", DESCRIBED),
        ("mask.lr", "fast", "at mask.lr: 'fast' is not of type 'number'", DESCRIBED),
        ("mask", None, "at mask: None is not of type 'object'", DESCRIBED),
        ("rome.layer", "five", "at rome.layer: 'five' is not of type 'integer'", DESCRIBED),
        ("rome.layer", -1, "at rome.layer: -1 ", DESCRIBED),
        ("rome.steps", 1, "at rome.steps: 1 ", DESCRIBED),
        ("seed", True, "at seed: True ", DESCRIBED),
        ("models", [], "at models: ", DESCRIBED),
        ("models", "smollm2-135m", "at models: ", DESCRIBED),
        ("models", ["tiny-gpt2", "tiny-gpt2"], "at models: ", DESCRIBED),
        ("models", ["no-such-model"], "config/models/no-such-model.yaml", "Correct the name or the file."),
        ("corpora.perplexity", "no-such-text", "config/datasets/no-such-text.yaml", "Correct the name or the file."),
        ("corpora.statistics", REMOVED, "at corpora: 'statistics'", DESCRIBED),
        ("methods", ["finetuning"], "at methods.0: 'finetuning' is not one of", DESCRIBED),
        ("methods", [], "at methods: ", DESCRIBED),
        ("facts.dataset", "counterfact", "facts.path", "Add the key."),
        ("facts.dataset", "zsre", "at facts.dataset: 'zsre' is not one of", DESCRIBED),
        ("facts.splits", "released", "facts.released", "Add the key."),
        ("facts.relations", ["Q17"], "at facts.relations.0: 'Q17' ", DESCRIBED),
        ("facts.per_relation.train", REMOVED, "facts.per_relation", "Add the number of facts a relation."),
        ("facts.per_relation", REMOVED, "['test', 'train']", "Add the number of facts a relation."),
        ("facts.per_relation.train", 0, "at facts.per_relation.train: 0 ", DESCRIBED),
        ("templates.0.length", 1, "at templates.0.length: 1 ", DESCRIBED),
        ("templates", [], "at templates: ", DESCRIBED),
        ("run", "a b", "at run: 'a b' ", DESCRIBED),
        ("run", REMOVED, "at the top level: 'run'", DESCRIBED),
        ("mask_seeds", [1, 1], "at mask_seeds: ", DESCRIBED),
    ],
)
def test_a_bad_key_is_named_with_advice(path, value, named, advice):
    message = refusal(changed(read("demo"), path, value))
    assert named in message
    assert advice in message


@pytest.mark.parametrize("content", [{}, None])
def test_an_empty_config_says_how_to_give_one(content):
    message = refusal(content)
    assert "a run's config" in message
    assert "--configfile config/demo.yaml" in message


def test_the_released_splits_need_no_counts():
    content = changed(read("demo"), "facts.splits", "released")
    content = changed(changed(content, "facts.released", "somewhere"), "facts.per_relation", REMOVED)
    assert load_run(content, ROOT)["facts"]["released"] == "somewhere"


@pytest.mark.parametrize(
    "path, value, named",
    [
        ("source.path", 3, "at source"),
        ("source.hub", "also/here", "at source"),
        ("family", "bert", "at family: 'bert' is not one of"),
        ("rome.layer", REMOVED, "at rome: 'layer'"),
        ("mask.gamma", REMOVED, "at mask: 'gamma'"),
        ("dtype", "float8", "at dtype: 'float8'"),
        ("labels", "x", "Did you mean 'label'?"),
    ],
)
def test_a_bad_model_file_is_named(tmp_path, path, value, named):
    root = copied_root(tmp_path)
    file = root / "config" / "models" / "tiny-gpt2.yaml"
    file.write_text(yaml.safe_dump(changed(yaml.safe_load(file.read_text()), path, value)))
    message = refusal(read("test"), root)
    assert "config/models/tiny-gpt2.yaml" in message
    assert named in message


@pytest.mark.parametrize("content", [b"source: [", b"", b"\xff\xfe\x00", b"- a list"])
def test_an_unreadable_corpus_file_is_named(tmp_path, content):
    root = copied_root(tmp_path)
    (root / "config" / "datasets" / "tiny.yaml").write_bytes(content)
    assert "config/datasets/tiny.yaml" in refusal(read("test"), root)


def test_a_typo_inside_a_source_is_told_from_what_is_allowed():
    """`check` promises to name the wrong key and what is allowed there, inside alternatives (oneOf) too."""
    content = {"source": {"path": "x.txt", "partt": "both"}}
    with pytest.raises(OnemaskError, match="'partt' was unexpected|'part' is a required property"):
        check(content, "corpus.schema.yaml", SCHEMAS, "config/datasets/x.yaml")


def resolved(file: str, rules: dict) -> dict:
    """A property's own rules over those that its $ref names."""
    if "$ref" not in rules:
        return rules
    other, _, pointer = rules["$ref"].partition("#")
    target = yaml.safe_load((SCHEMAS / (other or file)).read_text())
    for key in pointer.strip("/").split("/"):
        target = target[key]
    return target | rules


def declared(node: object, place: str = "") -> list[tuple[str, dict]]:
    """Every property of a schema with its dotted place, inside items, alternatives and $defs too."""
    if isinstance(node, list):
        return [found for i, part in enumerate(node) for found in declared(part, f"{place}[{i}]")]
    if not isinstance(node, dict):
        return []
    found = [(f"{place}.{name}", rules) for name, rules in node.get("properties", {}).items()]
    found += [deeper for name, rules in found for deeper in declared(rules, name)]
    parts = [(key, part) for key, part in node.items() if key not in ("properties", "default", "enum")]
    return found + [deeper for key, part in parts for deeper in declared(part, f"{place}/{key}")]


@pytest.mark.parametrize(
    "file, some",
    [
        ("run.schema.yaml", ".facts.per_relation.train"),
        ("model.schema.yaml", "/$defs/rome.layer"),
        ("corpus.schema.yaml", ".source/oneOf[0].wheel"),
    ],
)
def test_every_property_is_described(file, some):
    found = declared(yaml.safe_load((SCHEMAS / file).read_text()))
    assert some in [place for place, _ in found]
    assert [place for place, rules in found if not resolved(file, rules).get("description")] == []
