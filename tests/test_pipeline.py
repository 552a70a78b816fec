"""The whole DAG on the tiny model, run as a user runs it, in a copy of the project whose path holds a space."""

import contextlib
import importlib.util
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
import yaml

from conftest import snakemake
from onemask.editors import tables as edit_tables
from onemask.io import files
from onemask.masking.masks import read_mask
from onemask.measuring.schemas import DECOMPOSITION
from onemask.summaries import schemas
from onemask.summaries.measures import KEY
from onemask.summaries.schemas import MEASURES, PAPER_VS_OURS

MASKED = "results/test/tiny-gpt2/rome/shared/seed0"
TABLES = [
    *(f"table{number}" for number in range(1, 9)),
    "blocking",
    "editors",
    "controls",
    "mechanism",
    "heads",
    "mask_structure",
    "pruning",
]
STUDIES = ["mask_shares", "training_size", "transfer", "layers", "blocking_shares"]
FIGURES = [*(f"figure{number:02}" for number in range(3, 15)), "attention", "patching", "mask_training", *STUDIES[:4]]
WAYS = {"measure_activations", "measure_patching", "draw_patching"}  # what reads the last position as the decomposition does
LAST_POSITION = {"figure03", "figure04", "figure05", "figure09", "figure10", "figure13"}
PRUNING = {f"{stage}_pruning{part}" for stage in ("measure", "summarise") for part in ("", "_perplexity")} | {
    "pruning",
    "figure14",
}
BEFORE_MASKS = {"fetch_model", "prepare_facts", "measure_knowledge", "make_templates", "measure_second_moments"}
DRAWN = {name if name.startswith("figure") else f"draw_{name}" for name in FIGURES}
PAGES = {"paper_vs_ours", "provenance", "report", "all"}
CLAIMS = {"evaluate_claims", "claims", *PAGES}
MECHANISM = {"summarise_mechanism", "mechanism", "heads", *CLAIMS}
TOGETHER = {"figure08", "figure09", "figure10"}
OF_STRUCTURE = {"table8", "mask_structure"}


def rules_to_run(project: Path, *arguments: str) -> set[str]:
    """Names of the rules that a dry run would execute."""
    out = snakemake(project, *arguments, "-n", "--quiet", "host").stdout
    return set(re.findall(r"^(?:local)?rule (\w+):$", out, re.M))


def jobs_to_run(project: Path, rule: str) -> list[dict[str, str]]:
    """Wildcards of the jobs of a rule that a dry run would execute."""
    out = snakemake(project, "-n", "--quiet", "host").stdout
    found = re.findall(rf"^rule {rule}:\n(?: .*\n)*? +wildcards: (.*)$", out, re.M)
    return [dict(pair.split("=") for pair in wildcards.split(", ")) for wildcards in found]


@contextlib.contextmanager
def changed(path: Path, change: Callable[[str], str]) -> Iterator[None]:
    """A file of the project with another content."""
    content = path.read_text(encoding="utf-8")
    assert change(content) != content
    path.write_text(change(content), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(content, encoding="utf-8")


def table(project: Path, name: str) -> pd.DataFrame:
    return files.read_table(project / "results/test/tables" / f"{name}.parquet", MEASURES)


def value(frame: pd.DataFrame, **where: object) -> float:
    chosen = frame
    for key, wanted in where.items():
        chosen = chosen[chosen[key] == wanted]
    assert len(chosen) == 1, where
    return float(chosen["value"].iloc[0])


@pytest.mark.parametrize("name", [*TABLES, *STUDIES])
def test_each_table_is_tidy_and_readable(project, name):
    frame = table(project, name)
    assert list(frame.columns) == MEASURES.names
    assert not frame.duplicated(KEY).any()
    folder = project / "results/test/tables"
    assert len(pd.read_csv(folder / f"{name}.csv")) > 0
    title = name.replace("table", "table ").replace("_", " ").capitalize()
    assert (folder / f"{name}.md").read_text().startswith(f"**{title}.** ")


@pytest.mark.parametrize("name", FIGURES)
def test_each_figure_is_drawn_and_captioned(project, name):
    folder = project / "results/test/figures"
    assert (folder / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    caption = (folder / f"{name}.rst").read_text()
    assert "tiny GPT-2" in caption and ("MEMIT" if name in TOGETHER else "ROME") in caption


def test_the_report_holds_every_table_and_figure_and_needs_no_network(project):
    report = (project / "results/test/report.html").read_text(encoding="utf-8")
    assert all(f"{name}.html" in report for name in [*TABLES, *STUDIES]) and all(f"{name}.png" in report for name in FIGURES)
    assert '<script src="http' not in report and '<link href="http' not in report


def test_provenance_is_in_the_file(project):
    found = files.read_provenance(project / "results/test/tiny-gpt2/rome/edits/test/0.parquet")
    assert found["schema"] == "edits"
    assert len(found["config_hash"]) == len(found["code_hash"]) == 64
    assert len(found["model"]["sha256"]) == 64 and found["versions"]["torch"].startswith("2.13.0")


def test_edits_succeed_where_the_model_knew_the_fact(project):
    frame = table(project, "table1")
    for split in ("train", "test", "ood"):
        where = {"split": split, "relation": "all"}
        where |= {"method": "rome"}
        assert value(frame, metric="rsr", state="original", **where) == 1.0
        assert value(frame, metric="success", state="edited", **where) >= 0.7
        assert value(frame, metric="rsr", state="edited", **where) <= 0.3


def test_every_editor_edits_and_fine_tuning_says_what_its_rank_loses(project):
    frame = table(project, "editors")
    assert set(frame["method"]) == {"rome", "memit", "emmet", "alphaedit", "ft-l"}
    for method in frame["method"].unique():
        split = "joint_test" if method in ("memit", "emmet", "alphaedit") else "test"
        where = {"method": method, "split": split}
        assert value(frame, metric="success", **where) >= 0.5
        assert value(frame, metric="failed", **where) == 0
        assert (value(frame, metric="truncation", **where) > 0) == (method == "ft-l")


def test_the_mask_reverses_what_its_controls_do_not(project):
    frame = table(project, "controls")
    where = {"method": "rome", "metric": "rsr", "relation": "all"}
    shared = value(frame, state="shared", **where)
    for control in ("edited", "random", "random_by_output", "restored", "clipped", "shuffled", "left_out"):
        assert shared > value(frame, state=control, **where) + 0.2, control
    for control in ("shared", "random", "random_by_output", "restored", "unedited_masked"):
        pruned = value(frame, method="rome", metric="pruned", state=control)
        assert pruned == pytest.approx(read_mask(project / MASKED / "mask.safetensors").pruned)
    unedited = {"method": "rome", "state": "unedited_masked"}
    assert value(frame, metric="top1", **unedited) >= 0.8 and value(frame, metric="neighborhood", **unedited) >= 0.8
    near = {"method": "rome", "metric": "neighborhood"}
    assert value(frame, state="shared", **near) > value(frame, state="edited", **near) + 0.2
    train = table(project, "table2")
    on_train = {"method": "rome", "metric": "rsr", "split": "train"}
    assert value(train, state="shared", **on_train) > value(train, state="random", **on_train) + 0.2


def test_masks_of_a_study_have_exactly_their_share_and_beat_a_random_one(project):
    frame = table(project, "mask_shares")
    for kind in ("sigmoid", "topk"):
        where = {"parametrisation": kind, "share": 0.1}
        assert value(frame, metric="pruned", state="shared", **where) == pytest.approx(0.1, abs=1e-5)
        assert value(frame, metric="rsr", state="shared", **where) > value(frame, metric="rsr", state="random", **where)
    zeroed = {
        name: value(frame, metric="rsr", state="zeroed", parametrisation=name, share=0.1)
        for name in ("update", "magnitude", "columns", "activation")
    }
    assert max(zeroed, key=zeroed.get) == "update"


def test_masks_of_methods_are_tried_on_each_other(project):
    frame = table(project, "transfer")
    for method in ("rome", "emmet"):
        where = {"method": method, "metric": "rsr", "relation": "all"}
        assert value(frame, trained_on="rome", **where) > value(frame, state="random", **where) + 0.2
        part = frame[frame["method"] == method]
        assert {"rome", "emmet"} <= set(part["trained_on"]) and {"edited", "random"} <= set(part["state"])
    assert value(frame, method="emmet", metric="training_edits", trained_on="rome") == 80


def test_edits_made_together_are_masked_in_their_last_layer(project):
    mask = read_mask(project / "results/test/tiny-gpt2/memit/shared/seed0/mask.safetensors")
    assert mask.layer == 1
    frame = table(project, "table1")
    assert value(frame, method="memit", split="joint_test", metric="success", state="edited", relation="all") >= 0.5


def test_layers_have_energies_and_a_rank_correlation(project):
    frame = table(project, "layers")
    energies = [value(frame, method="rome", layer=layer, metric="common_energy") for layer in (0, 1)]
    assert all(0 < energy <= 1 for energy in energies) and len(set(energies)) == 2
    assert -1 <= value(frame, method="rome", metric="rank_correlation") <= 1


def test_contributions_of_the_run_sum_to_the_same_logit_in_both_tokens_states(project):
    parts = files.read_table(project / MASKED / "decomposition.parquet", DECOMPOSITION)
    logits = parts.groupby(["state", "token", "case_id"])["exact"].sum().groupby(["state", "token"]).mean()
    assert logits["original", "true"] > logits["original", "new"]
    assert logits["edited", "new"] > logits["edited", "true"]


def test_every_claim_has_a_verdict_for_both_methods(project):
    found = files.read_table(project / "results/test/tables/claims.parquet", schemas.CLAIMS)
    assert found.groupby("method")["claim"].nunique().to_dict() == {"memit": 19, "rome": 28}
    assert set(found["verdict"]) <= {"supported", "not supported", "inconclusive"}
    where = found.set_index(["method", "claim"])
    table1 = table(project, "table1")
    edited = value(table1, metric="success", state="edited", split="test", relation="all", method="rome")
    assert where.loc[("rome", "edits_succeed"), "value"] == pytest.approx(edited)
    assert "supported" in (project / "results/test/claims.rst").read_text()


def test_the_papers_figures_stand_beside_ours_and_never_in_one_cell(project):
    found = files.read_table(project / "results/test/paper_vs_ours.parquet", PAPER_VS_OURS)
    ours = found[found["model"] == "tiny-gpt2"]
    assert ours["paper"].isna().all() and ours["ours"].notna().all() and len(ours) > 60
    assert found.loc[found["model"] != "tiny-gpt2", "ours"].isna().all() and found["paper"].notna().sum() > 150
    assert set(found["printed_in"]) >= {
        *(f"table{number}" for number in range(1, 9)),
        "figure3",
        "figure6",
        "figure14",
        "training",
    }


def test_a_figure_by_its_number_asks_for_what_it_needs_only(project):
    nothing = rules_to_run(project, "results/test/figures/figure09.pdf", "--forceall")
    assert nothing == {
        *("fetch_model", "fetch_corpus", "prepare_facts", "measure_knowledge", "make_templates", "measure_second_moments"),
        *("edit_facts", "train_mask", "measure_decomposition", "figure09"),
    }


def test_a_finished_run_that_is_moved_stays_finished(project, tmp_path):
    moved = tmp_path / "elsewhere"
    project.rename(moved)
    try:
        said = snakemake(moved, "-n").stdout
    finally:
        moved.rename(project)
    assert "Nothing to be done" in said


def test_nothing_is_left_to_do(project):
    assert rules_to_run(project) == set()


def test_a_chunk_made_again_has_the_same_bytes(project):
    chunk = "results/test/tiny-gpt2/rome/edits/ood/0.parquet"
    before = (project / chunk).read_bytes()
    (project / chunk).unlink()
    snakemake(project, chunk)
    assert (project / chunk).read_bytes() == before
    snakemake(project, "--touch")


@pytest.mark.skipif(importlib.util.find_spec("easyeditor") is None, reason="the wheel easyeditor is not installed")
def test_easyedit_in_our_place_writes_the_same_file(project):
    config = yaml.safe_load((project / "config/test.yaml").read_text()) | {
        "run": "easyedit",
        "editor": "easyeditor",
        "methods": ["rome"],
        "compare": [],
        "studies": {},
    }
    (project / "config/easyedit.yaml").write_text(yaml.safe_dump(config))
    chunk = "tiny-gpt2/rome/edits/ood/0.parquet"
    snakemake(project, f"results/easyedit/{chunk}", config="easyedit")
    ours, theirs = (edit_tables.read_edits([project / "results" / name / chunk]) for name in ("test", "easyedit"))
    assert ours["case_id"].tolist() == theirs["case_id"].tolist() and ours["steps"].tolist() == theirs["steps"].tolist()
    found, expected = (edit_tables.layer_edits(table).update for table in (ours, theirs))
    for i in range(len(found)):
        assert float((found.dense(i) - expected.dense(i)).norm() / expected.dense(i).norm()) < 1e-3


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("figures/figure06.py", {"figure06", "report", "all"}),
        ("measuring/mechanism/patching.py", {"measure_patching", *MECHANISM, "draw_patching"}),
        ("summaries/claims.py", CLAIMS - {"paper_vs_ours"}),
        ("summaries/paper.py", {"paper_vs_ours", "report", "all"}),
        ("figures/transfer.py", {"draw_transfer", "report", "all"}),
        ("summaries/tables.py", {*TABLES, *STUDIES, *(f"draw_{name}" for name in STUDIES[:4]), "figure14", "claims", *PAGES}),
        ("editors/alphaedit.py", {"edit_facts", "summarise_editing", "editors", *PAGES}),
        ("measuring/pruning.py", {*PRUNING, "mask_shares", "draw_mask_shares", *CLAIMS}),
        ("measuring/mechanism/decomposition.py", {"measure_decomposition", *WAYS, *LAST_POSITION, *MECHANISM}),
    ],
)
def test_a_changed_module_reruns_what_stands_on_it_and_nothing_else(project, module, expected):
    with changed(project / "workflow_scripts" / "onemask" / module, lambda content: content + "\nCHANGED = True\n"):
        assert rules_to_run(project) == expected


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("io/errors.py", "import textwrap", "import textwrap  # a comment"),
        ("io/errors.py", "Make the edits again.", "Edit once more."),
        ("model/models.py", "A frozen causal language model", "A causal language model, frozen"),
        ("editors/second_moment.py", "Measure it on more text", "Take more text"),
    ],
)
def test_comments_docstrings_and_the_words_of_errors_rerun_nothing(project, module, old, new):
    """The second moments, which are expensive to recompute, among them."""
    file = project / "workflow_scripts" / "onemask" / module
    assert old in file.read_text()
    with changed(file, lambda content: content.replace(old, new)):
        assert rules_to_run(project) == set()


def test_a_script_that_was_only_touched_or_commented_reruns_nothing(project):
    with changed(project / "workflow_scripts" / "edit_facts.py", lambda content: content + "# a comment\n"):
        assert rules_to_run(project) == set()


@pytest.mark.parametrize(
    ("room", "column", "expected"),
    [
        ("summaries", '("difference", REAL)', {"paper_vs_ours", "report", "all"}),
        ("measuring", '("high_magnitude", REAL)', {"measure_update_magnitude", "summarise_structure", *CLAIMS, *OF_STRUCTURE}),
    ],
)
def test_a_column_added_to_one_table_reruns_what_writes_and_reads_it(project, room, column, expected):
    file = project / "workflow_scripts" / "onemask" / room / "schemas.py"
    assert file.read_text().count(column) == 1
    with changed(file, lambda content: content.replace(column, f'{column}, ("added", REAL)')):
        assert rules_to_run(project) == expected


def test_a_changed_look_of_all_figures_redraws_figures_alone(project):
    with changed(project / "workflow_scripts/onemask/figures/style.py", lambda content: content + "\nCHANGED = True\n"):
        assert rules_to_run(project) == {*DRAWN, "report", "all"}


def test_a_changed_caption_of_a_figure_is_in_the_report_and_nothing_else_is_made(project):
    with changed(project / "config/captions.yaml", lambda content: content.replace("figure06: >-", "figure06: >-\n    Changed.")):
        assert rules_to_run(project) == {"report", "all"}


def test_a_changed_caption_of_a_table_makes_that_table_again(project):
    with changed(project / "config/captions.yaml", lambda content: content.replace("  table3: >-", "  table3: >-\n    Changed.")):
        assert rules_to_run(project) == {"table3", *PAGES - {"claims"}}


def test_a_changed_style_of_one_figure_redraws_that_figure(project):
    with changed(project / "config/test.yaml", lambda content: content + "figures: {figure06: {rc: {axes.labelsize: 9}}}\n"):
        assert rules_to_run(project) == {"figure06", "provenance", "report", "all"}


def test_another_mask_seed_trains_masks_and_measures_them_but_edits_nothing(project):
    with changed(project / "config/test.yaml", lambda content: content + "mask_seeds: [1]\n"):
        found = rules_to_run(project)
    assert {
        "train_mask",
        "measure_reversal",
        "measure_perplexity",
        "measure_blocking",
        "measure_decomposition",
        "figure07",
        "table2",
    } <= found
    assert not found & (BEFORE_MASKS | {"edit_facts", "summarise_editing", "editors"})


def test_a_changed_rome_is_edited_anew_with_all_that_follows(project):
    with changed(project / "workflow_scripts/onemask/editors/rome.py", lambda content: content + "\nCHANGED = True\n"):
        found = rules_to_run(project)
        edited = jobs_to_run(project, "edit_facts")
    assert {"edit_facts", "summarise_editing", "train_mask", "measure_reversal", "measure_blocking", "figure07"} <= found
    assert not found & BEFORE_MASKS
    assert {job["method"] for job in edited} == {"rome", *(f"rome-layer{layer}" for layer in (0, 1))}


def test_a_comment_in_the_configuration_reruns_nothing(project):
    with changed(project / "config/test.yaml", lambda content: f"# a comment\n{content}# another\n"):
        assert rules_to_run(project) == set()


def test_a_figure_can_be_drawn_again_by_its_name(project):
    assert rules_to_run(project, "--forcerun", "figure06") == {"figure06", "report", "all"}


def test_what_only_other_figures_need_is_not_made_again(project):
    lost = project / MASKED / "decomposition.parquet"
    content = lost.read_bytes()
    lost.unlink()
    try:
        assert rules_to_run(project, "results/test/figures/figure06.pdf", "results/test/tables/table2.md") == set()
        assert "measure_decomposition" in rules_to_run(project, "results/test/figures/figure03.pdf", "--forcerun", "figure03")
    finally:
        lost.write_bytes(content)
        snakemake(project, "--touch")


def test_second_moments_are_protected(project):
    moments = list((project / "results/test/tiny-gpt2/second_moments").glob("*.safetensors"))
    assert moments and not [path for path in moments if path.stat().st_mode & 0o222]


@pytest.mark.parametrize(
    ("part", "settings", "message"),
    [
        ("mask", {"gama": 0.5}, "Did you mean 'gamma'"),
        ("facts", {"relations": ["P999"]}, "facts of relation P999"),
        ("editing", {"rome": {"layer": 9}}, "layers below 4"),
    ],
)
def test_bad_settings_stop_with_one_clear_line(project, part, settings, message):
    config = yaml.safe_load((project / "config/test.yaml").read_text()) | {
        "run": "bad",
        "methods": ["rome"],
        "compare": [],
        "studies": {},
    }
    config[part] |= settings
    (project / "config/bad.yaml").write_text(yaml.safe_dump(config))
    run = snakemake(project, config="bad", check=False)
    assert run.returncode != 0
    said = run.stdout + run.stderr
    assert message in said
    if part == "facts":  # told by a job, of which the error names the log
        assert re.search(r"Error in rule prepare_facts:(\n    .*)*\n    log: results/bad/logs/prepare_facts\.log", said)
    assert not list(project.glob("results/bad/**/edits/**/*.parquet"))
