"""Configuration: shipped runs load, settings merge in order, and every mistake gets one line that names it."""

import datetime
import shutil

import pytest
import yaml

from onemask.config.load import check, load_run, read_yaml
from onemask.io.errors import OnemaskError
from run_configs import ROOT, changed, demo, read


@pytest.mark.parametrize("name", ["demo", "paper", "test"])
def test_shipped_runs_load(name):
    config = read(name)
    run = load_run(config, ROOT)
    assert list(run.models) == config["models"]
    assert run.mask_seeds == (0,) and run.perplexity.window > 0


@pytest.mark.parametrize("place", ["one", "another/folder"])
def test_settings_do_not_say_where_the_project_lies(tmp_path, monkeypatch, place):
    shutil.copytree(ROOT / "config", tmp_path / place / "config")
    monkeypatch.chdir(tmp_path / place)
    run = load_run(read("test"), tmp_path / place)
    assert run.sources["tiny"]["path"] == "tests/.cache/tiny-corpus.txt"
    assert run.models["tiny-gpt2"].source["path"] == "tests/.cache/tiny-gpt2"
    assert str(tmp_path) not in repr(run)


def test_settings_come_from_defaults_then_model_then_run():
    rome = load_run(changed("editing.rome.steps", 7), ROOT).models["smollm2-135m"].editing["rome"]
    assert rome["kl_factor"] == 0.0625  # defaults
    assert rome["weight_decay"] == 1e-3  # the model's file
    assert rome["steps"] == 7  # the run


def test_paper_settings_are_the_papers():
    models = load_run(read("paper"), ROOT).models
    assert [models[name].mask.gamma for name in ("gpt2-xl", "qwen2.5-7b", "llama-3.2-3b")] == [0.7, 0.85, 0.9]
    assert all(model.mask.epochs == 300 and model.mask.lr == 1e-3 for model in models.values())
    assert (models["gpt2-xl"].editing["rome"]["layer"], models["llama-3.2-3b"].editing["rome"]["layer"]) == (17, 5)


def test_a_method_without_a_value_names_the_key():
    config = read("paper") | {"compare": ["emmet"]}
    with pytest.raises(OnemaskError, match="a value for emmet's .*layers.*llama-3.2-3b"):
        load_run(config, ROOT)


def test_no_config_says_how_to_give_one():
    with pytest.raises(OnemaskError, match="--configfile config/demo.yaml"):
        load_run({}, ROOT)


def undescribed(schema: object, path: str = "") -> list[str]:
    if isinstance(schema, list):
        return [found for i, part in enumerate(schema) for found in undescribed(part, f"{path}/{i}")]
    if not isinstance(schema, dict):
        return []
    missing = [
        f"{path}/{key}"
        for key, rules in schema.get("properties", {}).items()
        if isinstance(rules, dict) and "description" not in rules
    ]
    return missing + [found for key, part in schema.items() for found in undescribed(part, f"{path}/{key}")]


@pytest.mark.parametrize("name", ["run", "model", "methods", "corpus"])
def test_every_key_is_described(name):
    schema = yaml.safe_load((ROOT / "config" / "schemas" / f"{name}.schema.yaml").read_text(encoding="utf-8"))
    assert undescribed(schema) == []


def test_a_typo_in_a_models_source_is_named():
    model = yaml.safe_load((ROOT / "config/models/smollm2-135m.yaml").read_text(encoding="utf-8"))
    model["source"]["sha265"] = model["source"].pop("sha256")
    with pytest.raises(OnemaskError, match="at source.*sha2"):
        check(model, "model.schema.yaml", ROOT / "config" / "schemas", "a model's file")


def test_methods_whose_masks_are_exchanged_must_edit_one_last_layer():
    config = demo() | {"studies": {"transfer": ["rome", "memit"]}}
    load_run(config, ROOT)
    config = demo() | {"studies": {"transfer": ["rome", "memit"]}}
    config["editing"]["memit"] = {"layers": [16, 17]}
    with pytest.raises(OnemaskError, match="in one last layer; found {'rome': 18, 'memit': 17}"):
        load_run(config, ROOT)


def test_layers_are_compared_of_a_method_that_edits_one_and_each_fact_on_its_own():
    single = "a first method that edits each fact on its own, for studies.pruning_shares and blocking_shares; found memit"
    with pytest.raises(OnemaskError, match=single):
        load_run(read("demo") | {"methods": ["memit"], "compare": ["rome"], "studies": {"blocking_shares": [0.1]}}, ROOT)
    config = read("demo") | {"methods": ["memit"], "compare": ["rome"], "studies": {"layers": [5, 9]}}
    with pytest.raises(OnemaskError, match="a first method that edits one layer, for studies.layers; found memit"):
        load_run(config, ROOT)


def test_the_demos_studies_are_laid_over_the_demo():
    over = read("demo_studies")
    assert set(over) == {"studies"}
    load_run(read("demo") | read("demo_all") | over, ROOT)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[("1e-3", 1e-3), ("5e-1", 0.5), ("1e5", 1e5), ("1E+5", 1e5), ("-2.5e3", -2500.0), (".5e1", 5.0), ("1.e2", 100.0)],
        # as YAML 1.1 has them, before and now
        *[("1.0e-3", 1e-3), ("0.5", 0.5), ("7", 7), ("0x1f", 31), ("true", True), ("off", False), ("~", None)],
        *[("'1e5'", "1e5"), ("e5", "e5"), ("1e", "1e"), ("1e5x", "1e5x"), ("P17", "P17"), ("llama-3.2-1b", "llama-3.2-1b")],
        *[("12:30", 750), ("2024-01-31", datetime.date(2024, 1, 31)), ("7b1e5f", "7b1e5f"), ("[1e1, a]", [10.0, "a"])],
        *[(".inf", float("inf")), ("-", [None])],
    ],
)  # fmt: skip
def test_a_number_with_an_exponent_is_a_number_and_all_else_is_as_before(tmp_path, text, value):
    (tmp_path / "f.yaml").write_text(f"key: {text}\n" if text != "-" else "key:\n-\n", encoding="utf-8")
    found = read_yaml(tmp_path / "f.yaml")["key"]
    assert found == value and type(found) is type(value)


def test_numbers_that_snakemake_reads_as_texts_are_numbers_where_numbers_are_wanted():
    config = changed("editing.rome.lr", "5e-1") | {"run": "1e5"}
    config["mask"] = config["mask"] | {"lr": "1e-3"}
    config["studies"] = {"parametrisations": ["topk"], "shares": ["1e-1", 0.2]}
    run = load_run(config, ROOT)
    model = run.models["smollm2-135m"]
    assert (model.editing["rome"]["lr"], model.mask.lr, run.studies.shares) == (0.5, 1e-3, (0.1, 0.2))
    assert run.run == "1e5"
    with pytest.raises(OnemaskError, match="at editing.rome.lr: 'fast' is not of type 'number'"):
        load_run(changed("editing.rome.lr", "fast"), ROOT)


@pytest.mark.parametrize("value", [8.0, float("nan"), "8e0"])
def test_a_method_s_settings_in_a_run_are_held_to_our_types(value):
    with pytest.raises(OnemaskError, match="at editing.rome.steps: .* is not of type 'integer'"):
        load_run(changed("editing.rome.steps", value), ROOT)
