"""Captions cite the paper's figures from its values, each by keys that fit one figure."""

import shutil
from pathlib import Path

import pytest
import yaml

from onemask.config.captions import CITED, filled, read_captions
from onemask.io.errors import OnemaskError
from run_configs import read

ROOT = Path(__file__).resolve().parent.parent
PRINTED = [
    {"printed_in": "table8", "model": "gpt2-xl", "state": "edited", "metric": "update_norm", "value": 18.47},
    {"printed_in": "table8", "model": "gpt2-xl", "metric": "update_norm", "value": 1.85},  # no state: shared
    {"printed_in": "table6", "model": "gpt2-xl", "item": "3877", "metric": "perplexity_edited", "value": 21840210.0},
    {"printed_in": "figure12", "model": "gpt2-xl", "item": "506", "metric": "dimension_pruned", "value": None},
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nothing cited", "nothing cited"),
        ("from {paper table8 update_norm state=edited} to {paper table8 update_norm state=shared}.", "from 18.47 to 1.85."),
        ("{paper table6 perplexity_edited item=3877 as=,.0f}", "21,840,210"),
        ("{paper table8 update_norm\nmodel=gpt2-xl state=edited as=.1f}", "18.5"),  # a citation may break over lines
        ("{other braces}", "{other braces}"),
    ],
)
def test_a_citation_is_that_figure(text, expected):
    assert filled(text, PRINTED) == expected


@pytest.mark.parametrize(
    ("cited", "fitting"),
    [
        ("table9 update_norm", 0),
        ("table8 rsr", 0),
        ("table8 update_norm state=masked", 0),
        ("table8 update_norm colour=red", 0),
        ("table8 update_norm", 2),  # edited or shared?
    ],
)
def test_a_citation_that_fits_no_figure_or_several_is_refused(cited, fitting):
    with pytest.raises(OnemaskError, match=f"one figure of config/paper_values.yaml; found {fitting} for .*{cited}"):
        filled(f"The paper: {{paper {cited}}}.", PRINTED)


@pytest.mark.parametrize(
    "text",
    [
        "{paper table8}",  # no metric
        "{paper table8 update_norm edited}",  # no key
        "{paper figure12 dimension_pruned item=506}",  # named without a number
        "{paper table8 update_norm state=edited as=x}",  # no format of a number
        "{paper }",  # nothing
    ],
)
def test_a_citation_that_cannot_be_read_is_refused(text):
    with pytest.raises(OnemaskError, match="config/captions.yaml"):
        filled(text, PRINTED)


def test_every_citation_of_the_shipped_captions_is_filled():
    shipped, texts = read("captions"), read_captions(ROOT)
    cited = [name for kind in shipped.values() for name, text in kind.items() if CITED.search(text)]
    assert {"figure06", "figure07", "table6", "table8"} <= set(cited)
    assert not [name for kind in texts.values() for name, text in kind.items() if "{paper" in text]


@pytest.mark.parametrize(
    ("kind", "name", "says"),
    [
        ("figures", "figure03", "the edited layer's MLP adds 4.55 in place of 0.13"),
        ("figures", "figure06", "The paper: 0.98 without the mask and 0.38 with it"),
        ("figures", "figure07", "perplexity 17.80, edited 44.51, pruned 25.68"),
        ("figures", "figure12", "the five highest over 40% (GPT-2 XL: up to 74.6%)"),
        ("figures", "figure14", "from a share of 30% on"),
        ("tables", "table6", "from 748 to 21,840,210 edited, 32 to 55 pruned"),
        ("tables", "table8", "GPT-2 XL: 18.47 and 1.85; Llama-3.2-3B: 3.91 and 0.57"),
    ],
)
def test_shipped_captions_say_what_the_paper_prints(kind, name, says):
    assert says in read_captions(ROOT)[kind][name]


def test_a_caption_follows_the_papers_values_and_its_schema(tmp_path):
    shutil.copytree(ROOT / "config", tmp_path / "config")
    values = tmp_path / "config" / "paper_values.yaml"
    values.write_text(values.read_text(encoding="utf-8").replace("value: 18.47", "value: 18.5"), encoding="utf-8")
    before, after = read_captions(ROOT), read_captions(tmp_path)
    assert "18.5 and 1.85" in after["tables"]["table8"]
    assert [name for kind in before for name in before[kind] if before[kind][name] != after[kind][name]] == ["table8"]
    captions = tmp_path / "config" / "captions.yaml"
    captions.write_text(yaml.safe_dump(read("captions") | {"pictures": {}}), encoding="utf-8")
    with pytest.raises(OnemaskError, match="'pictures' was unexpected"):
        read_captions(tmp_path)
