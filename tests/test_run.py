"""The typed run: a field for each key of its schemas, and what follows from them for methods, splits, chunks and masks."""

import dataclasses
import types
import typing
from collections.abc import Mapping

import pytest

from onemask.config import settings
from onemask.config.load import load_run, read_yaml
from onemask.config.run import Run
from onemask.data.splits import RELEASED_PER_RELATION, SPLITS, split_of
from onemask.editors.registry import EDITORS
from onemask.io.errors import OnemaskError
from onemask.masking.settings import MaskSettings
from run_configs import ROOT, changed, demo, read

SCHEMAS = {name: read_yaml(ROOT / "config" / "schemas" / f"{name}.schema.yaml") for name in ("run", "model")}
SCALARS = {"string": str, "integer": int, "number": float, "boolean": bool}
# keys whose field holds what they name or are merged into, and what the run has beside its file
RESOLVED = {"models": Mapping[str, settings.Model]}
BESIDE = {"sources"}


def matches(field: object, rules: dict) -> bool:
    """Is a field's type the one that its key's schema describes?"""
    if isinstance(field, types.UnionType):
        (field,) = (part for part in typing.get_args(field) if part is not type(None))
    kind = rules.get("type")
    if isinstance(kind, list):
        return field is SCALARS[next(name for name in kind if name != "null")]
    if kind in SCALARS or "enum" in rules:
        return field is SCALARS[kind or "string"]
    if kind == "array":
        return typing.get_origin(field) is tuple and matches(typing.get_args(field)[0], rules["items"])
    if dataclasses.is_dataclass(field):
        return dataclasses.is_dataclass(field) and (field is MaskSettings or kind == "object")
    return typing.get_origin(field) is Mapping


def optional(kind: type) -> set[str]:
    hints = typing.get_type_hints(kind)
    return {name for name, hint in hints.items() if isinstance(hint, types.UnionType)}


def may_lack(schema: dict) -> set[str]:
    """Keys that are null, or not there, after defaults are filled in."""
    required = set(schema.get("required", []))
    return {
        key
        for key, rules in schema["properties"].items()
        if "null" in rules.get("type", []) or key not in required and "default" not in rules
    }


TYPED = {
    "run": (Run, SCHEMAS["run"]),
    "model": (settings.Model, SCHEMAS["model"]),
    "shape": (settings.Shape, SCHEMAS["model"]["properties"]["shape"]),
    "mask": (MaskSettings, SCHEMAS["model"]["$defs"]["mask"]),
} | {
    key: (typing.get_type_hints(Run)[key], rules)
    for key, rules in SCHEMAS["run"]["properties"].items()
    if dataclasses.is_dataclass(typing.get_type_hints(Run)[key])
}


@pytest.mark.parametrize("name", TYPED)
def test_each_key_of_a_schema_has_its_field_and_each_field_its_key(name):
    kind, schema = TYPED[name]
    fields = typing.get_type_hints(kind)
    assert set(fields) - (BESIDE if kind is Run else set()) == set(schema["properties"])
    for key, rules in schema["properties"].items():
        expected = RESOLVED.get(key) if kind is Run else None
        assert fields[key] == expected if expected else matches(fields[key], rules), key
    if kind is not MaskSettings:  # whose keys the defaults, the model's file and the run's give together
        assert optional(kind) == may_lack(schema)


def test_a_field_of_another_type_is_seen():
    assert not matches(int, {"type": "number"}) and not matches(tuple[int, ...], {"type": "array", "items": {"type": "string"}})
    assert matches(tuple[float, ...], {"type": "array", "items": {"type": "number"}}) and matches(str, {"enum": ["a"]})


def test_every_split_may_be_sized():
    sized = SCHEMAS["run"]["properties"]["facts"]["properties"]["per_relation"]["properties"]
    assert list(sized) == list(SPLITS) and set(RELEASED_PER_RELATION) < set(SPLITS)


def test_a_run_cannot_be_changed():
    run = load_run(demo(), ROOT)
    with pytest.raises(dataclasses.FrozenInstanceError):
        run.seed = 1
    assert isinstance(run.facts.relations, tuple) and isinstance(run.studies.shares, tuple)


def test_joint_and_single_edits_have_their_own_splits():
    run = load_run(demo(), ROOT)
    assert [run.train_split("rome"), run.test_split("rome")] == ["train", "test"]
    assert [run.train_split("memit"), run.test_split("memit")] == ["joint_train", "joint_test"]
    assert run.splits_of("rome") == ["train", "test", "ood"] and run.splits_of("memit") == ["joint_train", "joint_test"]
    assert run.splits_edited("memit") == ["joint_test"] and run.splits_edited("rome") == run.splits_of("rome")
    assert {split_of(split.role, split.joint) for split in SPLITS.values()} == set(SPLITS)
    assert run.of_kind(joint=False) == ["rome"] and run.of_kind(joint=True) == []


def test_released_splits_have_the_papers_sizes_or_less():
    released = read("counterfact_smollm2")
    released["facts"]["per_relation"] = {"train": 25}
    run = load_run(released, ROOT)
    assert run.splits == list(RELEASED_PER_RELATION)
    assert [run.per_relation(split) for split in run.splits] == [25, 170, 100, 100]


def relations_edited(run: Run, method: str, split: str) -> list[str]:
    return [name for groups in run.chunks(method, split).values() for group in groups for name in group]


@pytest.mark.parametrize("facts_per_job", [1, 60, 130, 300, 1000])
def test_chunks_hold_every_relation_once_in_order_and_each_is_edited_by_itself(facts_per_job):
    run = load_run(demo() | {"facts_per_job": facts_per_job}, ROOT)
    for split in ("train", "test", "ood"):
        chunks = run.chunks("rome", split)
        assert relations_edited(run, "rome", split) == run.relations_of(split)
        assert all(len(group) == 1 for groups in chunks.values() for group in groups)
        assert list(chunks) == [str(number) for number in range(len(chunks))]
        sizes = [len(groups) for groups in chunks.values()]
        assert max(sizes) - min(sizes) <= 1
        facts = run.per_relation(split) * len(run.relations_of(split))
        assert len(chunks) == min(-(-facts // facts_per_job), len(run.relations_of(split)))


def test_the_demos_edits_are_two_jobs_that_run_side_by_side():
    assert len(load_run(read("demo"), ROOT).chunks("rome", "train")) == 2


def test_joint_edits_and_those_only_compared_are_one_chunk_and_one_group():
    run = load_run(demo() | {"facts_per_job": 1, "studies": {"layers": [5, 9]}}, ROOT)
    for method, split in (("memit", "joint_test"), ("r-rome", "test"), ("rome-layer5", "test")):
        assert run.chunks(method, split) == {"all": [run.relations_of(split)]}


def test_compared_methods_and_layers_edit_fewer_facts():
    studies = {"layers": [5, 9], "layers_per_relation": 8, "transfer": ["rome", "r-rome"], "transfer_per_relation": 6}
    run = load_run(demo() | {"compare_per_relation": 4, "studies": studies}, ROOT)
    assert run.facts_limit("rome", "train") is None
    assert [run.facts_limit("r-rome", split) for split in ("train", "test")] == [6, 4]
    assert run.facts_limit("memit", "joint_train") == 6 and run.facts_limit("rome-layer9", "test") == 8


def test_a_layer_of_the_study_is_the_first_method_in_it():
    run = load_run(changed("studies.layers", [5, 9]), ROOT)
    assert run.layer_methods == {5: "rome-layer5", 9: "rome-layer9"}
    assert run.base("rome-layer9") == "rome" and run.editor_of("rome-layer9") is EDITORS["rome"]
    assert run.edited_layers("rome-layer9", "smollm2-135m") == [9]
    assert run.edited_layers("rome", "smollm2-135m") == [18]
    assert run.editing_of("rome-layer9", "smollm2-135m")["lr"] == run.editing_of("rome", "smollm2-135m")["lr"]


def test_second_moments_are_asked_for_by_the_editor_or_its_key():
    run = load_run(changed("editing.r-rome.mom2_adjustment", True), ROOT)
    layers = {method: run.moment_layers(method, "smollm2-135m") for method in ("rome", "r-rome", "memit", "ft-l")}
    assert layers == {"rome": [], "r-rome": [18], "memit": run.edited_layers("memit", "smollm2-135m"), "ft-l": []}


def test_masks_are_named_once():
    studies = {"parametrisations": ["sigmoid", "topk"], "shares": [0.02, 0.1], "blocking_shares": [0.1, 0.2], "folds": 2}
    run = load_run(demo() | {"studies": studies | {"shuffled": True, "training_edits": [30], "layers": [5, 9]}}, ROOT)
    expected = ["shared", "sigmoid-2", "sigmoid-10", "topk-2", "topk-10", "sigmoid-20", "fold0", "fold1", "shuffled", "edits30"]
    assert set(run.masks) == set(expected) and run.layer_mask("smollm2-135m") == "sigmoid-10"
    assert run.masks["topk-2"].columns == {"parametrisation": "topk", "share": 0.02, "training_edits": None}
    assert set(load_run(read("demo"), ROOT).masks) == {"shared", "sigmoid-10"}  # the second is for the study of layers


def test_a_masks_plan_has_the_methods_own_settings():
    config = read("demo") | read("demo_all") | read("demo_studies")
    run = load_run(config, ROOT)
    assert run.mask_plan("shared", "rome").settings == {}
    assert run.mask_plan("shared", "memit").settings == {"epochs": 50}
    assert run.mask_plan("shared", "emmet").settings == {"epochs": 20}  # of studies.transfer
    assert run.mask_plan("sigmoid-10", "rome-layer5").settings["epochs"] == 16
    assert run.mask_plan("fold1", "rome").left_out == tuple(run.facts.relations[1::3])
    assert run.mask_settings("smollm2-135m", "memit").epochs == 50 and run.mask_settings("smollm2-135m", "rome").epochs == 8
    assert "epochs" not in run.common_mask_settings("smollm2-135m") and run.common_mask_settings("smollm2-135m")["lr"] == 0.05


def test_a_studys_mask_is_measured_on_the_test_split_and_where_its_edits_are_fewer_on_training_too():
    run = load_run(changed("studies", {"training_edits": [30], "parametrisations": ["topk"], "shares": [0.1]}), ROOT)
    assert run.splits_measured("rome", "shared") == ["train", "test", "ood"]
    assert run.splits_measured("rome", "topk-10") == ["test"] and run.splits_measured("rome", "edits30") == ["train", "test"]
    assert run.splits_measured("memit", "shared") == ["joint_test"]
    assert (run.perplexity_edits("shared"), run.perplexity_edits("topk-10")) == (12, 5)


def test_a_key_of_yesterday_is_unknown_and_its_name_of_today_is_said():
    with pytest.raises(OnemaskError, match="'memit_train' was unexpected.*Did you mean 'joint_train'"):
        load_run(changed("facts.per_relation.memit_train", 5), ROOT)
