"""Committed results of documented runs: docs/results/<run>/measures.csv and claims.csv, written from a finished run, and read."""

import fnmatch
import functools
import re
from pathlib import Path

import pandas as pd

from onemask.io.errors import OnemaskError
from onemask.io.files import read_table, write_text
from onemask.summaries.schemas import CLAIMS, MEASURES

# what a mark need not name; of every other column the default is "empty", so that a study's row is never taken for the run's own
DEFAULTS = {"method": "rome", "split": "test", "relation": "all"}
EMPTY_UNLESS_NAMED = ("layer", "parametrisation", "share", "training_edits", "trained_on", "item")
ANY_UNLESS_NAMED = ("table", "model", "state", "seed", "metric")
KEYS = (*DEFAULTS, *EMPTY_UNLESS_NAMED, *ANY_UNLESS_NAMED)
SHOWN = ["value", "ci_low", "ci_high", "n"]
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
def read_csv(path: Path) -> pd.DataFrame:
    """A committed CSV as text, "" where a cell is empty; OnemaskError where there is no file."""
    if not path.is_file():
        raise OnemaskError(f"the committed results {path}", "no such file", f"`make results RUN={path.parent.name}` writes them.")
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def _matches(cells: pd.Series, wanted: str) -> pd.Series:
    """Which cells are meant: "*" any, "a|b" either, numbers by value ("0.10" is "0.1")."""
    options = wanted.split("|")
    numbers = {float(option) for option in options if re.fullmatch(r"[0-9.]+", option)}

    def meant(cell: str) -> bool:
        if any(fnmatch.fnmatchcase(cell, option) for option in options):
            return True
        return bool(numbers and re.fullmatch(r"[0-9.]+", cell)) and float(cell) in numbers

    return pd.Series([meant(cell) for cell in cells], index=cells.index, dtype=bool)


def rows(table: pd.DataFrame, keys: dict[str, str]) -> pd.DataFrame:
    """The rows whose cells match every key; OnemaskError for a key that is no column."""
    if unknown := sorted(set(keys) - set(table.columns)):
        raise OnemaskError(f"keys out of {', '.join(table.columns)}", ", ".join(unknown), "Correct the mark.")
    for column, wanted in keys.items():
        table = table[_matches(table[column], wanted)]
    return table


def measure(docs: Path, run: str, keys: dict[str, str]) -> dict[str, str]:
    """value, ci_low, ci_high and n (text, "" where there is none) of the one measure that the keys name.

    Keys are columns of `measures`; those not named take DEFAULTS, or are empty (EMPTY_UNLESS_NAMED). Raises OnemaskError where
    no row matches, or several whose values differ.
    """
    complete = DEFAULTS | dict.fromkeys(EMPTY_UNLESS_NAMED, "") | keys
    found = rows(read_csv(docs / "results" / run / "measures.csv"), complete)[SHOWN].drop_duplicates()
    if len(found) != 1:
        named = " ".join(f"{key}={value}" for key, value in keys.items())
        says = "none" if found.empty else f"{len(found)}: values {', '.join(found['value'])}"
        raise OnemaskError(f"one measure of run {run} with {named}", says, f"`make results RUN={run}`, or correct the mark.")
    return found.iloc[0].to_dict()
