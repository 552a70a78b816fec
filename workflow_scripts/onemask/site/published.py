"""Committed results of documented runs: docs/results/<run>/measures.csv and claims.csv, written from a finished run, and read."""

import csv
import functools
import re
from pathlib import Path

import pandas as pd

from onemask.io.errors import OnemaskError
from onemask.io.files import read_table, write_text
from onemask.summaries.schemas import CLAIMS, MEASURES

# what a mark need not name; columns of studies are empty unless named, so that a study's row is never taken for the run's own
DEFAULTS = {"method": "rome", "split": "test", "relation": "all"}
EMPTY_UNLESS_NAMED = ("layer", "parametrisation", "share", "training_edits", "trained_on", "item")
UNLESS_NAMED = DEFAULTS | dict.fromkeys(EMPTY_UNLESS_NAMED, "")
SHOWN = ["value", "ci_low", "ci_high", "n"]
NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")
DIGITS = "%.6g"  # digits that another processor's rounding does not change


def publish(results: Path, run: str, docs: Path) -> list[Path]:
    """Write docs/results/<run>/{measures,claims}.csv from the tables of a finished run, and return their paths.

    Rows of `measures.csv` begin with the table that they stand in. Raises OnemaskError where the run has no tables.
    """
    tables = sorted(path for path in (results / run / "tables").glob("*.parquet") if path.stem != "claims")
    if not tables:
        raise OnemaskError(f"tables of a finished run in {results / run / 'tables'}", "none", f"Run config/{run}.yaml first.")
    frames = [read_table(path, MEASURES).assign(table=path.stem)[["table", *MEASURES.names]] for path in tables]
    claims = read_table(results / run / "tables" / "claims.parquet", CLAIMS)
    written = {"measures": pd.concat(frames, ignore_index=True), "claims": claims}
    for name, frame in written.items():
        write_text(docs / "results" / run / f"{name}.csv", frame.to_csv(index=False, float_format=DIGITS))
    return [docs / "results" / run / f"{name}.csv" for name in written]


@functools.cache
def read_csv(path: Path) -> list[dict[str, str]]:
    """Rows of a committed CSV as text, "" where a cell is empty; OnemaskError where there is no file, or no row in it."""
    if not path.is_file():
        raise OnemaskError(f"the committed results {path}", "no such file", f"`make results RUN={path.parent.name}` writes them.")
    with path.open(encoding="utf-8", newline="") as file:
        if table := list(csv.DictReader(file)):
            return table
    raise OnemaskError(f"rows in {path}", "none", f"`make results RUN={path.parent.name}` writes them.")


def _meant(cell: str, wanted: str) -> bool:
    """Is a cell meant by "*" (any), "a|b" (either) or a number ("0.10" is "0.1")?"""
    for option in wanted.split("|"):
        if option in ("*", cell) or (NUMBER.fullmatch(option) and NUMBER.fullmatch(cell) and float(option) == float(cell)):
            return True
    return False


def rows(table: list[dict[str, str]], keys: dict[str, str]) -> list[dict[str, str]]:
    """The rows whose cells match every key; OnemaskError for a key that is no column."""
    if unknown := sorted(keys.keys() - table[0].keys()):
        raise OnemaskError(f"keys out of {', '.join(table[0])}", ", ".join(unknown), "Correct the mark.")
    return [row for row in table if all(_meant(row[column], wanted) for column, wanted in keys.items())]


def measure(docs: Path, run: str, keys: dict[str, str]) -> dict[str, str]:
    """value, ci_low, ci_high and n (text, "" where there is none) of the one measure that the keys name.

    Keys are columns of `measures`; those not named take DEFAULTS, or are empty (EMPTY_UNLESS_NAMED). Raises OnemaskError where
    no row matches, or several whose values differ.
    """
    complete = keys | {key: value for key, value in UNLESS_NAMED.items() if key not in keys}
    matching = rows(read_csv(docs / "results" / run / "measures.csv"), complete)
    distinct = {tuple(row[column] for column in SHOWN) for row in matching}
    if len(distinct) != 1:
        named = " ".join(f"{key}={value}" for key, value in keys.items())
        says = f"{len(distinct)}: values {', '.join(sorted(row[0] for row in distinct))}" if distinct else "none"
        raise OnemaskError(f"one measure of run {run} with {named}", says, f"`make results RUN={run}`, or correct the mark.")
    return dict(zip(SHOWN, distinct.pop(), strict=True))
