"""The front page: short, its Python runs as printed, its links lead somewhere."""

import re
from pathlib import Path

import pytest

import tiny_model

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DEMO_MODEL, DEMO_LAYER = "results/assets/models/smollm2-135m", "layer, model = 18,"
LAST = "assert pruned.logp_true > pruned.logp_new"


def python_of(readme: str) -> str:
    """The README's Python, on the tiny model and its layer 0; every other line is as printed."""
    (block,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    assert block.count(DEMO_MODEL) == block.count(DEMO_LAYER) == 1
    return block.replace(DEMO_MODEL, str(tiny_model.make())).replace(DEMO_LAYER, "layer, model = 0,")


def dead_links(readme: str) -> list[str]:
    """Relative links and images whose file is not there."""
    targets = [target.split("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", readme) if "://" not in target]
    assert len(targets) > 10
    return [target for target in targets if target and not (ROOT / target).exists()]


def test_it_is_short():
    assert len(README.splitlines()) <= 150


def test_its_python_runs():
    code = python_of(README)
    assert code.count("assert ") == 3
    exec(compile(code, "README.md", "exec"), {})


def test_its_python_fails_where_nothing_is_pruned():
    code = python_of(README).replace("int(0.9 * size.numel())", "size.numel()")
    assert LAST in code
    with pytest.raises(AssertionError):
        exec(compile(code, "README.md", "exec"), {})


def test_its_links_lead_somewhere():
    assert dead_links(README) == []


def test_a_dead_link_is_seen():
    assert dead_links(README.replace("docs/costs.md", "docs/cost.md")) == ["docs/cost.md"]


def test_every_target_it_names_is_in_the_makefile():
    named = set(re.findall(r"`make ([a-z-]+)", README))
    made = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert len(named) >= 9
    assert named - {"check", "lock"} <= made
