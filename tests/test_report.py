"""The report in a real browser: it needs nothing but itself, and shows every figure and table of its run."""

import base64
import os
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

import browser

IMAGE = '<img src="http://127.0.0.1:9/x.png">'
PAGE = re.compile(r"(data:text/html;[^,\"]*base64,)([^\"]+)")


@pytest.fixture(scope="module")
def chromium():
    program = browser.find()
    if program is None:
        pytest.skip(f"no browser to open the report with: none of {', '.join(browser.NAMES)} is on the path")
    with browser.launch(program) as running:
        yield running


@pytest.fixture(scope="session")
def report_path(request) -> Path:
    """The finished run's report, or the one that ONEMASK_REPORT names."""
    named = os.environ.get("ONEMASK_REPORT")
    return Path(named) if named else request.getfixturevalue("project") / "results/test/report.html"


@dataclass
class Visit:
    """What someone saw who clicked through everything, in order: figures by path, tables' rows by path."""

    opened: list[str]
    figures: dict[str, dict]
    tables: dict[str, list[str]]
    captions: dict[str, str]
    description: dict | None
    leaks: list[str]
    errors: list[str]


@pytest.fixture(scope="module")
def visit(chromium, report_path) -> Visit:
    with browser.open_report(chromium, report_path) as report:
        found = Visit([], {}, {}, report.captions(), report.description(), [], [])
        report.open_general()
        for path in report.open_each():
            found.opened.append(path)
            if path.endswith(".png"):
                found.figures[path] = report.figure(path)
            else:
                found.tables[path] = report.table_rows()
        found.leaks, found.errors = report.leaks(), report.errors
    return found


def files(report: Path, *patterns: str) -> list[str]:
    """Files of the report's run, as the report names them."""
    run = report.resolve().parent
    found = [path for pattern in patterns for path in run.glob(pattern) if path.name != report.name]
    return sorted(path.relative_to(run.parent.parent).as_posix() for path in found)


def test_clicking_through_everything_asks_for_nothing_and_raises_nothing(visit):
    assert visit.leaks == []
    assert visit.errors == []


def test_every_figure_and_table_of_the_run_can_be_opened(visit, report_path):
    assert sorted(visit.opened) == files(report_path, "figures/*.png", "tables/*.html", "*.html")


def test_every_figure_is_shown_whole(visit, report_path):
    assert sorted(visit.figures) == files(report_path, "figures/*.png")
    for path, figure in visit.figures.items():
        assert figure["own"] and figure["whole"] and figure["width"] > 100, (path, figure)


def test_every_table_shows_its_rows(visit, report_path):
    for path, rows in visit.tables.items():
        source = (report_path.resolve().parents[2] / path).read_text(encoding="utf-8")
        assert len(rows) == source.count("<tr") > 1, path
        assert all(row.strip() for row in rows), path


def test_every_caption_is_there_and_its_markup_is_understood(visit):
    for path, caption in visit.captions.items():
        assert caption.startswith("<p>") and "system-message" not in caption and "problematic" not in caption, path


def test_the_landing_page_shows_the_claims(visit):
    if visit.description is None:
        pytest.fail("the report has no description on its landing page")
    assert "Claims" in visit.description["text"]
    assert len(visit.description["rows"]) >= 10
    assert any("supported" in row for row in visit.description["rows"])
    assert visit.description["whole"]


def with_element(report: str, element: str) -> str:
    """The report with one more element at its end."""
    start, end, rest = report.rpartition("</body>")
    return start + element + end + rest


def with_image_in_tables(report: str) -> str:
    """The report with an image from elsewhere in each of its tables."""

    def change(match: re.Match) -> str:
        page = base64.b64decode(match[2]) + IMAGE.encode()
        return match[1] + base64.b64encode(page).decode()

    return PAGE.sub(change, report)


@pytest.fixture
def changed(chromium, report_path, tmp_path):
    """Opens a changed copy of the report."""

    def open_changed(change, *arguments):
        copy = tmp_path / "report.html"
        copy.write_text(change(report_path.read_text(encoding="utf-8"), *arguments), encoding="utf-8")
        return browser.open_report(chromium, copy)

    return open_changed


@pytest.mark.parametrize("source", ["http://127.0.0.1:9/x.png", "beside.png"])
def test_an_image_from_outside_is_seen_as_a_leak(changed, source):
    with changed(with_element, f'<img src="{source}">') as report:
        assert [url.rpartition("/")[2] for url in report.leaks()] == [source.rpartition("/")[2]]


def test_a_leak_inside_a_table_is_seen(changed):
    with changed(with_image_in_tables) as report:
        next(path for path in report.open_each() if path.endswith(".html"))
        assert report.table_rows() and report.leaks() == ["http://127.0.0.1:9/x.png"]


@pytest.mark.parametrize("script", ["throw new Error('control')", "console.error('control')"])
def test_a_script_that_fails_is_seen(changed, script):
    with changed(with_element, f"<script>{script}</script>") as report:
        assert len(report.errors) == 1 and "control" in report.errors[0]
        assert report.leaks() == []


def test_a_figure_that_is_cut_or_another_is_seen(changed):
    with changed(with_element, "<style>#app img { position: relative; top: -2000px }</style>") as report:
        path = next(path for path in report.open_each() if path.endswith(".png"))
        another = next(other for other in report.captions() if other != path)
        assert report.figure(path)["own"] and not report.figure(path)["whole"]
        assert not report.figure(another)["own"]
