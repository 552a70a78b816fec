"""Pages say what the committed results say, and the site has no dead link."""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from onemask.io.errors import OnemaskError
from onemask.io.files import write_table
from onemask.site import configuration, marks, numbers, published
from onemask.site.pages import index, written
from onemask.summaries.schemas import CLAIMS, MEASURES

ROOT = Path(__file__).resolve().parent.parent
RESULTS = [
    "README.md",
    "docs/results/demo.md",
    "docs/results/studies.md",
    "docs/results/claims.md",
    "docs/results/counterfact.md",
]
RSR = '<!--value demo table=controls metric=rsr state=restored as=value-->0.37<!--/-->'  # fmt: skip


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A copy of what the generator reads and writes."""
    root = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "docs", root / "docs")
    shutil.copytree(ROOT / "config", root / "config")
    for name in ("README.md", "mkdocs.yml"):
        shutil.copy(ROOT / name, root / name)
    return root


def stale(root: Path) -> list[str]:
    """Committed pages that the generator would change."""
    pages = {path: text for path, text in written(root).items() if path.name != "index.md"}
    return [str(path.relative_to(root)) for path, text in pages.items() if path.read_text(encoding="utf-8") != text]


def test_running_the_generator_changes_nothing():
    assert stale(ROOT) == []


def test_an_altered_number_is_noticed_in_page_and_in_table(clone):
    page = clone / "docs" / "results" / "demo.md"
    before = page.read_text(encoding="utf-8")
    assert RSR in before and before.count("| 0.38 [0.30, 0.47] |") == 1
    for there, altered in ((RSR, RSR.replace("0.37", "0.38")), ("| 0.38 [0.30, 0.47] |", "| 0.39 [0.30, 0.47] |")):
        page.write_text(before.replace(there, altered), encoding="utf-8")
        assert stale(clone) == ["docs/results/demo.md"]
    page.write_text(before, encoding="utf-8")
    assert stale(clone) == []


def test_an_altered_result_is_noticed(clone, tmp_path):
    shutil.copytree(clone, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "docs" / "results" / "demo" / "measures.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.loc[(table["state"] == "restored") & (table["table"] == "controls") & (table["metric"] == "rsr"), "value"] = "0.99"
    table.to_csv(path, index=False)
    assert stale(tmp_path) == ["README.md", "docs/results/demo.md"]


def test_a_missing_result_is_named_with_its_page(clone, tmp_path):
    shutil.copytree(clone, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "docs" / "results" / "demo" / "measures.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table[table["table"] != "heads"].to_csv(path, index=False)
    with pytest.raises(OnemaskError, match=r"found 3 without:\ndocs/results/demo.md, .*head_gain.*found none"):
        written(tmp_path)


def test_what_two_rows_say_differently_is_no_value(clone):
    with pytest.raises(OnemaskError, match="one measure of run demo with metric=rsr"):
        published.measure(clone / "docs", "demo", {"metric": "rsr"})
    with pytest.raises(OnemaskError, match="keys out of table, model"):
        published.measure(clone / "docs", "demo", {"metrik": "rsr"})


def test_a_mark_that_is_not_closed_or_not_known_is_an_error(clone):
    for text in ("RSR <!--value demo metric=rsr-->0.86", "<!--number demo-->1<!--/-->"):
        with pytest.raises(OnemaskError, match="known and closed"):
            marks.filled(text, clone / "docs", "page.md")


def test_a_number_that_would_end_its_paragraph_is_an_error(clone):
    with pytest.raises(OnemaskError, match="Put a word before it"):
        marks.filled(f"- RSR is\n  {RSR}\n", clone / "docs", "page.md")


def typed(text: str) -> list[str]:
    """Rates outside of marks, headings and code: what nobody generates. The paper's own figures are quoted."""
    outside = re.sub(r"```.*?```|`[^`]*`", "", marks.MARK.sub("", text), flags=re.DOTALL)
    return [
        line for line in outside.splitlines() if re.search(r"(?<![\d.])0\.\d\d(?!\d)", line) and "paper's success" not in line
    ]


@pytest.mark.parametrize("page", RESULTS)
def test_no_rate_is_typed(page):
    allowed = ("lr 0.05", "A random mask has 0.00")
    assert [line for line in typed((ROOT / page).read_text(encoding="utf-8")) if not any(text in line for text in allowed)] == []


def test_a_typed_rate_is_seen():
    assert typed(f"RSR is 0.86.\n\n{RSR}\n") == ["RSR is 0.86."]


@pytest.mark.parametrize(
    ("row", "form", "text"),
    [
        (("0.859813", "0.794393", "0.915888", "107"), "interval", "0.86 [0.79, 0.92]"),
        (("0.859813", "", "", "107"), "interval", "0.86"),
        (("1", "1", "1", "107"), "interval", "1.00"),
        (("-0.00287", "-0.0111", "0.0064", "12"), "interval", "-0.003 [-0.01, 0.01]"),
        (("0.1", "", "", "1"), "percent", "10%"),
        (("395", "", "", "395"), "count", "395"),
        (("0.5", "", "", "60"), "n", "60"),
        (("0", "0", "0", "107"), "value", "0.00"),
    ],
)
def test_how_a_measure_is_written(row, form, text):
    assert numbers.shown(dict(zip(published.SHOWN, row, strict=True)), form) == text


def test_a_finished_run_is_published(tmp_path):
    blank = {"string": "", "int64": 0, "double": 0.0, "bool": False}
    for schema, name, changes in (
        (MEASURES, "table2", {"metric": "rsr", "value": 0.8598130841}),
        (CLAIMS, "claims", {"claim": "c"}),
    ):
        row = {column: blank[str(kind)] for column, kind in schema.columns} | changes
        write_table(tmp_path / "results" / "tiny" / "tables" / f"{name}.parquet", schema, [row], {})
    paths = published.publish(tmp_path / "results", "tiny", tmp_path / "docs")
    table = pd.read_csv(paths[0])
    assert [path.name for path in paths] == ["measures.csv", "claims.csv"]
    assert list(table.columns) == ["table", *MEASURES.names] and table.loc[0, "table"] == "table2"
    assert table.loc[0, "value"] == 0.859813
    with pytest.raises(OnemaskError, match="tables of a finished run"):
        published.publish(tmp_path / "results", "nothing", tmp_path / "docs")


def test_every_metric_and_state_of_the_demo_is_in_the_glossary():
    glossary = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    words = set(re.findall(r"`([a-z0-9_]+)`", glossary))
    words |= {f"{word}_sd" for word in ("p_original", "p_edited")}
    table = pd.read_csv(ROOT / "docs" / "results" / "demo" / "measures.csv", dtype=str, keep_default_na=False)
    assert table["metric"].nunique() > 30
    for column in ("metric", "state", "split"):
        assert set(table[column]) - words <= {""}


def test_every_key_of_a_run_is_in_the_configuration_page():
    page = configuration.page(ROOT / "config")
    schema = yaml.safe_load((ROOT / "config" / "schemas" / "run.schema.yaml").read_text(encoding="utf-8"))
    for key, rules in schema["properties"].items():
        assert f"| `{key}` |" in page
        assert all(f"| `{key}.{below}` |" in page for below in rules.get("properties", {}))
    assert "| `mask.gamma` |" not in page and "| `gamma` |" in page


def test_the_sites_first_page_is_the_readme_with_links_moved():
    text = "[demo](docs/results/demo.md#a) ![f](docs/f.png) [rules](CONTRIBUTING.md) [paper](https://arxiv.org/x) [top](#top)"
    assert index(text) == "[demo](results/demo.md#a) ![f](f.png) rules [paper](https://arxiv.org/x) [top](#top)"


def build(root: Path) -> subprocess.CompletedProcess[str]:
    for path, text in written(root).items():
        path.write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(root / "site")]
    return subprocess.run(command, cwd=root, capture_output=True, text=True)


@pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="mkdocs is not installed")
def test_the_site_builds_and_a_dead_link_fails(clone):
    built = build(clone)
    assert built.returncode == 0, built.stderr
    fetched = [
        url
        for path in (clone / "site").rglob("*.html")
        for url in re.findall(r'(?:src|rel="stylesheet" href)="(https?:[^"]+)', path.read_text())
    ]
    assert fetched == []
    (clone / "docs" / "costs.md").write_text("[nowhere](nowhere.md)\n", encoding="utf-8")
    broken = build(clone)
    assert broken.returncode != 0 and "nowhere.md" in broken.stderr
