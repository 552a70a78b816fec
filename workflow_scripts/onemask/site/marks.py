"""Marked places of a page, and what stands in them.

A mark is a comment, what is generated, and `<!--/-->`:

    <!--value demo metric=rsr state=shared-->0.86 [0.79, 0.92]<!--/-->   a measure (as=value|count|percent|n, digits=2)
    <!--claim demo reversal_test-->0.86 [0.79, 0.92]<!--/-->             the statistic of a claim (method=rome)
    <!--verdicts demo method=rome-->18 supported, ...<!--/-->            how many claims got which verdict
    <!--cell RUN/TABLE column=shared metric=rsr-->0.52<!--/-->           a cell of a run's table for readers (.csv)
    <!--table demo controls-->...<!--/-->                                a table of docs/tables.yaml
    <!--claims demo=demo CounterFact=RUN-->...<!--/-->                   all claims, runs side by side by label
    <!--editors-->...<!--/-->                                            the registry of editors
    <!--easyedit-->...<!--/-->                                           EasyEdit's names of hyperparameters and ours
"""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

from onemask.config import easyedit
from onemask.editors import registry
from onemask.io.errors import OnemaskError
from onemask.site import claims, grids, numbers, published

MARK = re.compile(r"<!--(value|claim|verdicts|cell|table|claims|editors|easyedit)(?: (.*?))?-->(.*?)<!--/-->", re.DOTALL)
INLINE_FIRST = re.compile(r"^\s*<!--(?:value|claim|verdicts|cell) .*", re.MULTILINE)  # there, Markdown ends the paragraph
ANY_MARK = re.compile(r"<!--(?!/-->)(.*?)-->")


def value(docs: Path, words: list[str], keys: dict[str, str]) -> str:
    form, digits = keys.pop("as", "interval"), int(keys.pop("digits", 2))
    return numbers.shown(published.measure(docs, words[0], keys), form, digits)


def cell(docs: Path, words: list[str], keys: dict[str, str]) -> str:
    column = keys.pop("column")
    found = published.rows(published.read_csv(docs / "results" / f"{words[0]}.csv"), keys)
    if len(found) != 1:
        raise OnemaskError(f"one row of {words[0]}.csv with {keys}", f"{len(found)}", "Correct the mark.")
    read = re.findall(r"-?[0-9.]+(?:e-?[0-9]+)?", found[0][column])
    return numbers.interval(*read) if len(read) == 3 else numbers.decimal(read[0])


WRITERS: dict[str, Callable[[Path, list[str], dict[str, str]], str]] = {
    "value": value,
    "cell": cell,
    "claim": lambda docs, words, keys: claims.statistic(docs, *words, **keys),
    "verdicts": lambda docs, words, keys: claims.verdicts(docs, *words, **keys),
    "table": lambda docs, words, keys: f"\n\n{grids.table(docs, *words)}\n\n",
    "editors": lambda docs, words, keys: f"\n\n{registry.markdown()}\n",
    "easyedit": lambda docs, words, keys: f"\n\n{easyedit.markdown()}\n",
    "claims": lambda docs, words, keys: f"\n\n{claims.table(docs, keys)}\n\n",
}


def contents(docs: Path, kind: str, attributes: str) -> str:
    """What stands in a mark of a kind with attributes."""
    parts = shlex.split(attributes)
    words = [part for part in parts if "=" not in part]
    return WRITERS[kind](docs, words, dict(part.split("=", 1) for part in parts if "=" in part))


def filled(text: str, docs: Path, name: str) -> tuple[str, list[str]]:
    """The page with every mark filled anew, and what could not be: one message a mark, which keeps what stood there.

    Raises OnemaskError for a mark that is not closed, of no known kind, or of a number and first in its line.
    """
    missing = []

    def fill(found: re.Match[str]) -> str:
        mark, kind, attributes, before = found[0].partition("-->")[0] + "-->", *found.groups(default="")
        try:
            return f"{mark}{contents(docs, kind, attributes)}<!--/-->"
        except OnemaskError as error:
            missing.append(f"{name}, {mark}: {error}")
            return f"{mark}{before}<!--/-->"

    new = MARK.sub(fill, text)
    if stray := ANY_MARK.findall(MARK.sub("", text)):
        raise OnemaskError(f"marks of {name} that are known and closed by <!--/-->", f"<!--{stray[0]}-->", "Correct the mark.")
    if first := INLINE_FIRST.search(text):
        raise OnemaskError(f"no line of {name} that begins with a number's mark", first[0].strip(), "Put a word before it.")
    return new, missing
