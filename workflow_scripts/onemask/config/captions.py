"""Captions of figures and tables, with the paper's own figures put where a caption cites them."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onemask.config.load import check, read_yaml
from onemask.io.errors import OnemaskError

CITED = re.compile(r"\{paper ([^{}]*)\}")


def read_captions(root: Path) -> dict[str, dict[str, str]]:
    """The texts of config/captions.yaml by name, under "figures" and "tables".

    Raises OnemaskError when the file does not follow its schema, or cites a figure that the paper's values do not have.
    """
    captions = read_yaml(root / "config" / "captions.yaml")
    check(captions, "captions.schema.yaml", root / "config" / "schemas", "config/captions.yaml")
    printed = read_yaml(root / "config" / "paper_values.yaml")["values"]
    return {kind: {name: filled(text, printed) for name, text in texts.items()} for kind, texts in captions.items()}


def filled(text: str, printed: list[Mapping[str, Any]]) -> str:
    """A caption in which each {paper <printed_in> <metric> key=value ...} is that figure; OnemaskError where there is none."""
    return CITED.sub(lambda cited: _figure(cited[1], printed), text)


def _figure(cited: str, printed: list[Mapping[str, Any]]) -> str:
    place, metric, *keys = cited.split() + [""] * (2 - len(cited.split()))
    where = dict(key.partition("=")[::2] for key in keys)
    form = where.pop("as", "g")
    unsaid = {"split": "all", "state": "shared", "relation": "all"}
    fitting = [
        entry["value"]
        for entry in printed
        if (entry["printed_in"], entry["metric"]) == (place, metric)
        if all(str(entry.get(key, unsaid.get(key, ""))) == value for key, value in where.items())
    ]
    if len(set(fitting)) != 1:
        found = f"{len(set(fitting))} for {{paper {cited}}} in config/captions.yaml"
        raise OnemaskError("one figure of config/paper_values.yaml", found, "Correct the caption's keys.")
    try:
        return format(fitting[0], form)
    except (TypeError, ValueError) as error:
        found = f"{fitting[0]} and {form!r} for {{paper {cited}}} in config/captions.yaml"
        raise OnemaskError("a number and the format of one (as=.2f)", found, "Correct the caption's citation.") from error
