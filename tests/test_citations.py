"""Whoever cites a section of docs/method.md cites one that is there."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
METHOD = ROOT / "docs" / "method.md"
FOLDERS = ("workflow_scripts", "tests", "config", "rules", "docs", "benchmarks")
ENDINGS = {".py", ".yaml", ".smk", ".md"}
NUMBER = r"\d+(?:\.\d+)?"
CITATION = re.compile(rf"method\.md[\])\"`]*(?:\([^)]*\))?,?\s+(?:#\s*)?sections?\s+({NUMBER}(?:(?:,| and| to)\s+{NUMBER})*)")


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
