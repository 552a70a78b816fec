"""The code hash: what a change reaches, and what it does not."""

import ast
import shutil
from pathlib import Path

import pytest

from onemask.io import codehash


def behind(*names: str) -> set[str]:
    files = codehash.files_behind(*(codehash.ROOT / name for name in names))
    return {str(file.relative_to(codehash.ROOT)) for file in files}


@pytest.mark.parametrize(
    "scripts, inside, outside",
    [
        (
            ("edit_facts.py",),
            {"edit_facts.py", "job.py", "onemask/__init__.py", "onemask/model/__init__.py", "onemask/model/edits.py"},
            {"onemask/figures/style.py", "onemask/data/corpus.py", "train_mask.py", "onemask/editors/rome.py"},
        ),
        (
            ("draw_figure.py", "onemask/figures/figure06.py"),
            {"onemask/figures/__init__.py", "onemask/figures/style.py", "onemask/summaries/captions.py"},
            {"onemask/editors/rome.py", "onemask/figures/figure07.py", "edit_facts.py"},
        ),
        (
            ("make_table.py",),
            {"onemask/summaries/tables.py", "onemask/io/schema.py", "onemask/summaries/schemas.py"},
            {"onemask/editors/rome.py", "onemask/masking/masks.py"},
        ),
    ],
)
def test_the_code_behind_a_script(scripts, inside, outside):
    found = behind(*scripts)
    assert inside <= found
    assert outside.isdisjoint(found)


def test_no_import_escapes_the_hash():
    """A relative import would: only absolute ones are followed."""
    trees = {file: ast.parse(file.read_text(encoding="utf-8")) for file in codehash.ROOT.rglob("*.py")}
    nodes = [(file, node) for file, tree in trees.items() for node in ast.walk(tree)]
    nodes = [(file, node) for file, node in nodes if isinstance(node, ast.ImportFrom)]
    assert len(nodes) > 50
    assert [(file.name, node.lineno) for file, node in nodes if node.level] == []


def test_every_module_that_lies_here_is_ours():
    """Only modules named as the project's are followed; each that a file here imports from beside it is."""
    here = {path.stem for path in codehash.ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in codehash.ROOT.rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} & here == set(codehash.OURS)


@pytest.fixture
def copied(tmp_path, monkeypatch) -> Path:
    """A copy of the code that `codehash` takes for the project's."""
    folder = shutil.copytree(codehash.ROOT, tmp_path.resolve() / "code", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(codehash, "ROOT", folder)
    codehash.forget()
    yield folder
    codehash.forget()


def hashes() -> dict[str, str]:
    codehash.forget()
    return {file.name: codehash.code_hash(file) for file in codehash.ROOT.glob("*.py")}


def test_the_hash_is_of_the_code_and_not_of_its_place(tmp_path, copied, monkeypatch):
    there = hashes()
    monkeypatch.undo()
    assert hashes() == there


@pytest.mark.parametrize(
    "module, among, not_among",
    [
        ("onemask/measuring/blocking.py", {"measure_blocking.py"}, {"make_table.py", "draw_figure.py"}),
        ("onemask/measuring/states.py", {"measure_reversal.py", "measure_perplexity.py"}, {"edit_facts.py", "train_mask.py"}),
        ("onemask/editors/run.py", {"edit_facts.py"}, {"train_mask.py"}),
        ("onemask/masking/masks.py", {"measure_reversal.py"}, {"measure_knowledge.py", "make_templates.py", "edit_facts.py"}),
        ("onemask/summaries/tables.py", {"make_table.py"}, {"edit_facts.py", "train_mask.py", "draw_figure.py"}),
        ("onemask/data/corpus.py", {"fetch_corpus.py"}, {"edit_facts.py", "make_table.py"}),
        ("make_table.py", {"make_table.py"}, {"edit_facts.py", "draw_figure.py"}),
    ],
)
def test_a_change_reaches_the_scripts_that_import_it_and_no_other(copied, module, among, not_among):
    before = hashes()
    users = {name for name in before if module in behind(name)}
    (copied / module).write_bytes((copied / module).read_bytes() + b"CHANGED = True\n")
    after = hashes()
    changed = {name for name in before if before[name] != after[name]}
    assert changed == users
    assert among <= changed and not_among.isdisjoint(changed)


def test_an_editor_is_behind_the_jobs_that_name_it():
    """Editors are loaded by name, so that a change to one leaves the others' edits alone: the rule names the file."""
    assert "onemask/editors/memit.py" not in behind("edit_facts.py", "onemask/editors/rome.py")
    assert {"onemask/editors/delta.py", "onemask/editors/memit.py"} <= behind("edit_facts.py", "onemask/editors/emmet.py")
    assert {"onemask/editors/delta.py", "onemask/editors/rome.py"} <= behind("measure_blocking.py", "onemask/editors/rome.py")


def test_a_new_import_is_followed(copied):
    before = hashes()["make_table.py"]
    (copied / "onemask" / "summaries" / "tables.py").open("a").write("import onemask.editors.rome\n")
    assert hashes()["make_table.py"] != before
    assert "onemask/editors/rome.py" in behind("make_table.py")


def rewritten(folder: Path, change) -> int:
    """Change every file of the code; how many became others."""
    count = 0
    for file in folder.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        file.write_text(change(text), encoding="utf-8")
        count += file.read_text(encoding="utf-8") != text
    return count


class Reworded(ast.NodeTransformer):
    """Docstrings and the words of messages are others, and functions lose their annotations."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if codehash._name(node.func) in codehash.MESSAGES:
            for text in ast.walk(node):
                if isinstance(text, ast.Constant) and isinstance(text.value, str):
                    text.value += " (reworded)"
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.generic_visit(node)
        node.returns = None
        if ast.get_docstring(node):
            node.body[0] = ast.Expr(ast.Constant("Another docstring."))
        return node


def test_comments_and_layout_rerun_nothing(copied):
    before = hashes()
    count = rewritten(copied, lambda text: "# a comment\n" + text.replace("\ndef ", "\n\n\n# another\ndef ") + "# the last\n")
    assert count > 80 and hashes() == before


def test_docstrings_annotations_and_the_words_of_errors_rerun_nothing(copied):
    before = hashes()
    count = rewritten(copied, lambda text: ast.unparse(Reworded().visit(ast.parse(text))))
    assert count > 80 and hashes() == before


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("onemask/io/errors.py", "Make the edits again.", "Edit once more."),
        ("onemask/io/errors.py", "expected {expected}; found", "wanted {expected}; got"),
        ("onemask/io/files.py", "Free the space or mend", "Make room, or mend"),
        ("onemask/data/corpus.py", 'advice = "Correct `path`', 'advice = "Mend `path`'),
    ],
)
def test_a_message_that_is_put_together_reruns_nothing(copied, module, old, new):
    text = (copied / module).read_text(encoding="utf-8")
    assert old in text
    before = hashes()
    (copied / module).write_text(text.replace(old, new), encoding="utf-8")
    assert hashes() == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("RESAMPLES = 2000", "RESAMPLES = 2001"),
        ("[2.5, 97.5]", "[5, 95]"),
        ("def bootstrap_interval(values", "def bootstrap_interval(value"),
        ("    values: list = []\n", ""),
    ][:3],
)
def test_what_computes_does_rerun(copied, old, new):
    file = copied / "onemask" / "summaries" / "measures.py"
    before = hashes()
    assert old in file.read_text(encoding="utf-8")
    file.write_text(file.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    assert {name for name, found in hashes().items() if found != before[name]} == {
        name for name in before if "onemask/summaries/measures.py" in behind(name)
    }


@pytest.mark.parametrize(
    ("schema", "column", "among", "not_among"),
    [
        ("summaries", '("difference", REAL)', {"compare_with_paper.py"}, {"make_table.py", "judge_claims.py", "edit_facts.py"}),
        ("data", '("known", FLAG)', {"measure_knowledge.py", "edit_facts.py"}, {"prepare_facts.py", "train_mask.py"}),
        ("measuring", '("tokens", INTEGER)', {"measure_perplexity.py", "summarise_perplexity.py"}, {"measure_reversal.py"}),
        (
            "masking",
            '("kl", REAL)',
            {"train_mask.py"},
            {"edit_facts.py", "measure_mask_structure.py"},
        ),
    ],
)
def test_a_column_added_to_a_table_reruns_what_writes_or_reads_it(copied, schema, column, among, not_among):
    file, before = copied / "onemask" / schema / "schemas.py", hashes()
    text = file.read_text(encoding="utf-8")
    assert text.count(column) == 1
    file.write_text(text.replace(column, f'{column}, ("added", REAL)'), encoding="utf-8")
    changed = {name for name, found in hashes().items() if found != before[name]}
    assert among <= changed and not_among.isdisjoint(changed)
    assert "fetch_model.py" not in changed and "measure_second_moments.py" not in changed
