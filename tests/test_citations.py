"""Whoever cites a section of docs/method.md, or a section or an equation of the paper, cites one that is there."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
METHOD = ROOT / "docs" / "method.md"
FOLDERS = ("workflow_scripts", "tests", "config", "rules", "docs", "benchmarks")
ENDINGS = {".py", ".yaml", ".smk", ".md"}
NUMBER = r"\d+(?:\.\d+)?"
CITATION = re.compile(rf"method\.md[\])\"`]*(?:\([^)]*\))?,?\s+(?:#\s*)?sections?\s+({NUMBER}(?:(?:,| and| to)\s+{NUMBER})*)")

PAPER = {*"1234567", "4.1", "4.2", *"ABCD", "B.1", "B.2", "B.3", "C.1", "C.2", "D.1", "D.2"}  # sections of arXiv 2605.28839v1
OF_THE_PAPER = re.compile(r"\b(?:[Ss]ections?|[Aa]ppendix)\s+([0-9]+(?:\.[0-9]+)?|[A-Z](?:\.[0-9]+)?)(?![\w-])")
EQUATION = re.compile(r"\b[Ee]quations?\s+([0-9]+)(?:(?:-| to | and |, )([0-9]+))?")
ANOTHERS = re.compile(r"et al\.|its paper")  # an equation of another paper, which is named beside it


def headings(text: str) -> set[str]:
    """Numbers of the numbered headings of a page."""
    return set(re.findall(rf"^#+ ({NUMBER})\.? ", text, re.MULTILINE))


def citations(text: str) -> list[str]:
    """Numbers of the sections of method.md that a text cites."""
    return [number for cited in CITATION.findall(text) for number in re.findall(NUMBER, cited)]


def files() -> list[Path]:
    """What may cite: code, settings and pages; not this test."""
    below = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in ENDINGS]
    return [path for path in [*below, *ROOT.glob("*.md")] if path != Path(__file__) and ".cache" not in path.parts]


def dead(texts: dict[str, str], known: set[str]) -> list[str]:
    """Citations that point to no heading, as "file: number"."""
    return [f"{name}: {number}" for name, text in texts.items() for number in citations(text) if number not in known]


def test_every_cited_section_of_the_method_exists():
    texts = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in files()}
    assert sum(len(citations(text)) for text in texts.values()) >= 12
    assert dead(texts, headings(METHOD.read_text(encoding="utf-8"))) == []


def test_the_sections_are_numbered_without_gaps():
    sections = [number for number in headings(METHOD.read_text(encoding="utf-8")) if "." not in number]
    assert sorted(map(int, sections)) == list(range(1, len(sections) + 1))


def test_a_citation_of_nothing_is_seen():
    known = headings("# Method\n\n## 1. Facts\n\n### 1.1 Strata\n\n## 2. ROME\n")
    assert known == {"1", "1.1", "2"}
    text = "As in method.md section 1.1, (method.md sections 2 and 3), and [method.md](method.md) section 1.2."
    text += " method.md,\nsection 9."
    assert dead({"page": text}, known) == ["page: 3", "page: 1.2", "page: 9"]


def test_a_heading_taken_away_is_missed():
    text = METHOD.read_text(encoding="utf-8").replace("## 4. The mask", "## The mask")
    cited = (ROOT / "workflow_scripts" / "onemask" / "masking" / "training.py").read_text(encoding="utf-8")
    assert "training.py: 4" in dead({"training.py": cited}, headings(text))


def dead_in_the_paper(texts: dict[str, str], equations: set[str]) -> list[str]:
    """Citations of sections that the paper does not have, and of equations that no list of method.md numbers."""
    found = []
    for name, text in texts.items():
        rest = CITATION.sub("", text)
        found += [f"{name}: section {number}" for number in OF_THE_PAPER.findall(rest) if number not in PAPER]
        for match in EQUATION.finditer(rest):
            beside = rest[max(0, match.start() - 150) : match.end() + 30]
            cited = [number for number in match.groups() if number and not ANOTHERS.search(beside)]
            found += [f"{name}: equation {number}" for number in cited if number not in equations]
    return found


def numbered_equations(text: str) -> set[str]:
    """Numbers of the equations that method.md lists, as "- (1) ..."."""
    return set(re.findall(r"^- \(([0-9]+)\) ", text, re.MULTILINE))


def test_every_cited_section_and_equation_of_the_paper_exists():
    texts = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in files()}
    equations = numbered_equations(METHOD.read_text(encoding="utf-8"))
    assert equations == {"1", "2", "3", "4"}
    assert dead_in_the_paper(texts, equations) == []


def test_a_citation_that_the_paper_does_not_have_is_seen():
    text = (
        "As in section 4.3, appendix E, (equation 5); method.md section 9.1. "
        + " " * 150
        + "Equations 1-4; equation 14 (Fang et al. 2025)"
    )
    assert dead_in_the_paper({"page": text}, {"1", "2", "3", "4"}) == [
        "page: section 4.3",
        "page: section E",
        "page: equation 5",
    ]
