"""Bad configurations, each refused by `snakemake` itself: one line that names the mistake, exit code 1, nothing written."""

import shutil
from pathlib import Path

import pytest
import yaml

from faults import ROOT, refused, snakemake
from run_configs import changed

NAN, INFINITY = float("nan"), float("inf")

# a key of the demo with every editor, a wrong value, and what is said of it
CASES = [
    # misspelt keys, at every level
    ("sead", 1, "at the top level: .*'sead' was unexpected.*Did you mean 'seed'"),
    ("mask.gama", 0.5, "at mask: .*Did you mean 'gamma'"),
    ("mask_by_method.rome.gama", 0.5, "at mask_by_method.rome: .*Did you mean 'gamma'"),
    ("editing.rome.layers", 5, "at editing.rome: .*Did you mean 'layer'"),
    ("facts.only_knwon", True, "at facts: .*Did you mean 'only_known'"),
    ("facts.per_relation.tset", 5, "at facts.per_relation: .*Did you mean 'test'"),
    ("studies.fold", 3, "at studies: .*Did you mean 'folds'"),
    # names that were others before
    ("facts.per_relation.memit_test", 5, "at facts.per_relation: .*'memit_test' was unexpected.*Did you mean 'joint_test'"),
    ("facts.per_relation.memit_train", 5, "at facts.per_relation: .*Did you mean 'joint_train'"),
    (1, 2, "at the top level: .*1 was unexpected"),
    # wrong types
    ("run", 5, "at run: 5 is not of type 'string'"),
    ("seed", "0", "at seed: '0' is not of type 'integer'"),
    ("models", "smollm2-135m", "at models: .* is not of type 'array'"),
    ("facts", "embedded", "at facts: 'embedded' is not of type 'object'"),
    ("mask", None, "at mask: None is not of type 'object'"),
    ("editing.rome.layer", "eighteen", "at editing.rome.layer: 'eighteen' is not of type 'integer'"),
    ("facts.only_known", "yes, please", "at facts.only_known: .* is not of type 'boolean'"),
    ("mask.epochs", 8.0, "at mask.epochs: 8.0 is not of type 'integer'"),
    ("mask.epochs", True, "at mask.epochs: True is not of type 'integer'"),
    ("mask_seeds", [0.0], "at mask_seeds.0: 0.0 is not of type 'integer'"),
    # numbers out of range
    ("seed", -1, "at seed: -1 is less than the minimum of 0"),
    ("mask.gamma", 1.5, "at mask.gamma: 1.5 is greater than or equal to the maximum of 1"),
    ("mask.gamma", 0, "at mask.gamma: 0 is less than or equal to the minimum of 0"),
    ("mask.gamma", NAN, "at mask.gamma: nan is not of type 'number'"),
    ("mask.lr", INFINITY, "at mask.lr: inf is not of type 'number'"),
    ("mask.epochs", -1, "at mask.epochs"),
    ("mask.s_max", 1.0, "at mask.s_max"),
    ("mask_seeds", [-1], "at mask_seeds.0"),
    ("pruning.shares", [0], "at pruning.shares.0: 0 is less than or equal to the minimum of 0"),
    ("pruning.shares", [1.5], "at pruning.shares.0: 1.5 is greater than the maximum of 1"),
    ("studies.shares", [10], "at studies.shares.0"),
    ("editing.rome.layer", -1, "at editing.rome.layer"),
    ("editing.rome.steps", 1, "at editing.rome.steps"),
    ("editing.rome.templates", [{"length": 1, "count": 2}], "at editing.rome.templates.0.length"),
    ("editing.memit.layers", [18, 17], r"memit's layers ascending, each once; found \[18, 17\]"),
    ("editing.memit.layers", [18, 18], r"memit's layers ascending, each once; found \[18, 18\]"),
    ("facts.per_relation.train", 0, "at facts.per_relation.train"),
    ("perplexity.window", 2, "at perplexity.window"),
    ("perplexity.tokens", 500, "perplexity.tokens for one window at least; found 500 in windows of 512"),
    ("statistics.tokens", 100, "statistics.tokens for one window at least; found 100 in windows of 256"),
    # what nobody knows
    ("models", ["gpt5"], "YAML at .*gpt5.yaml"),
    ("models", ["../models/smollm2-135m"], "at models.0"),
    ("methods", ["mend"], "methods out of rome, .*found 'mend'"),
    ("compare", ["mend"], "methods out of rome, .*found 'mend'"),
    ("mask_by_method.mend", {}, "methods out of rome, .*found 'mend'"),
    ("editing.mend", {}, "at editing: .*'mend' was unexpected"),
    ("mask.parametrisation", "hard", "at mask.parametrisation: .*not one of"),
    ("mask.cut", "rank", "at mask.cut: .*not one of"),
    ("facts.dataset", "zsre", "at facts.dataset: 'zsre' is not one of"),
    ("facts.relations", ["capital"], "at facts.relations.0"),
    ("corpora.statistics", "no-such", "YAML at .*no-such.yaml"),
    ("editor", "easyedit", "at editor: 'easyedit' is not one of"),
    ("studies.parametrisations", ["l0"], "at studies.parametrisations.0: .*not one of"),
    ("studies.transfer", ["rome", "mend"], r"studies.transfer out of methods and compare; found \['mend'\]"),
    # too few and too many
    ("models", [], "at models"),
    ("methods", [], "at methods"),
    ("facts.relations", [], "at facts.relations"),
    ("facts.relations", ["P17", "P17"], "at facts.relations: .*non-unique"),
    ("methods", ["rome", "rome"], "each method once"),
    ("compare", ["rome"], "each method once"),
    ("studies.layers", [18], "two layers or more in studies.layers"),
    ("studies.folds", 1, "between two folds and one a relation; found studies.folds: 1"),
    ("studies.training_edits", [100000], "studies.training_edits of at most 500, the training facts; found 100000"),
    # settings that contradict each other
    ("facts.ood_relations", ["P17"], "OOD relations that are not trained on; found .'P17'. in both lists"),
    ("facts.ood_relations", [], "facts.ood_relations; found none for facts.per_relation.ood: 14"),
    ("facts.per_relation", {"test": 3}, "per_relation with train and test; found no .'train'"),
    ("facts.per_relation", {"train": 3, "test": 3}, "facts.per_relation for memit, which edits .*; found no joint_test"),
    ("facts.dataset", "counterfact", "facts.path, since facts.dataset is counterfact"),
    ("facts.splits", "released", "facts.released, since facts.splits is released"),
    ("corpora.statistics", "wikitext2", "a corpus for statistics; found part: perplexity"),
    ("editor", "easyeditor", "rome or memit, which EasyEdit can run here; found r-rome"),
    ("studies.shares", [0.1], "studies.parametrisations and studies.shares together"),
    ("studies.transfer", ["r-rome", "rome"], "a method of methods first in studies.transfer; found r-rome"),
    ("run", "a/b", "at run"),
    ("figures", {"figure99": {}}, "figures of this run; found figure99. Correct figures in .*; the run has .*figure03"),
    ("figures", {"figure03": {"sise": [3, 3]}}, "at figures.figure03: .*Did you mean 'size'"),
    ("figures", {"figure03": {"size": [3]}}, "at figures.figure03.size"),
]


@pytest.mark.parametrize(("path", "value", "message"), CASES, ids=[f"{path}: {value}"[:50] for path, value, _ in CASES])
def test_a_bad_setting_is_named(tmp_path, path, value, message):
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(changed(path, value)), encoding="utf-8")
    refused(snakemake(tmp_path, tmp_path / "run.yaml", "-n"), message)


@pytest.fixture
def project(tmp_path) -> Path:
    """This project with a config/ of its own."""
    for part in ("Snakefile", "rules", "workflow_scripts", "profiles"):
        (tmp_path / part).symlink_to(ROOT / part)
    shutil.copytree(ROOT / "config", tmp_path / "config")
    return tmp_path


MODEL, CORPUS = "config/models/smollm2-135m.yaml", "config/datasets/enwiki-excerpt.yaml"


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (MODEL, b"family:", b"family: [", "YAML at .*smollm2-135m.yaml"),
        (MODEL, b"family:", b"# caf\xe9\nfamily:", "YAML at .*smollm2-135m.yaml; found 'utf-8' codec can't decode byte 0xe9"),
        (MODEL, b"label: SmolLM2-135M", b"label: 2024-13-45", "YAML at .*smollm2-135m.yaml; found month must be in 1..12"),
        (MODEL, b"family: llama", b"family: mamba", "models/smollm2-135m.yaml to follow .*at family: 'mamba' is not one of"),
        (MODEL, b"sha256:", b"sha265:", "models/smollm2-135m.yaml to follow .*at source: .*sha2"),
        (MODEL, b"gamma:", b"gama:", "models/smollm2-135m.yaml to follow .*at mask: "),
        (CORPUS, b"part:", b"parts:", "datasets/enwiki-excerpt.yaml to follow .*at source: "),
        (CORPUS, b"part: both", b"part: all", "datasets/enwiki-excerpt.yaml to follow .*at source: "),
        ("config/claims.yaml", b"quantity:", b"quantiti:", "config/claims.yaml to follow .*Did you mean 'quantity'"),
    ],
)
def test_a_bad_file_of_config_is_named(project, file, old, new, message):
    content = (project / file).read_bytes()
    assert old in content
    (project / file).write_bytes(content.replace(old, new, 1))
    refused(snakemake(project, project / "config" / "demo.yaml", "-n", project=project), message)


@pytest.mark.parametrize(
    ("content", "message"),
    [("run: [demo", "not valid JSON or YAML"), ("- run\n- demo\n", "keys at top level"), ("", "keys at top level")],
)
def test_a_file_that_is_no_config_is_refused_by_snakemake(tmp_path, content, message):
    (tmp_path / "run.yaml").write_text(content, encoding="utf-8")
    found = snakemake(tmp_path, tmp_path / "run.yaml", "-n")
    assert found.code == 1 and message in found.said and "Traceback" not in found.said
