"""The paper's claims in pages: one statistic, the counts of verdicts, and the table of runs side by side."""

import re
from pathlib import Path

import pandas as pd

from onemask.io.errors import OnemaskError
from onemask.site import numbers
from onemask.site.grids import markdown
from onemask.site.published import read_csv

WORDS = {"supported": "**yes**", "not supported": "no", "inconclusive": "open"}


def of_run(docs: Path, run: str) -> pd.DataFrame:
    """Claims of a run: method (lower case), says, shown (text), bound, control, control_value, verdict, note.

    Of a run whose `claims.csv` is the table for readers, the same columns are read from its texts.
    """
    table = pd.DataFrame(read_csv(docs / "results" / run / "claims.csv"))
    if "says" in table:
        shown = [numbers.interval(row.value, row.ci_low, row.ci_high) for row in table.itertuples()]
        return table.assign(shown=shown)
    read = [re.findall(r"-?[0-9.]+(?:e-?[0-9]+)?", text) for text in table["value"]]
    shown = [numbers.interval(*texts) if len(texts) == 3 else numbers.decimal(texts[0] if texts else "") for texts in read]
    verdicts = table["verdict"].str.extract(r"^(?P<verdict>[a-z ]+?)(?: \((?P<note>.*)\))?$").fillna("")
    named = table.rename(columns={"claim": "says"}).drop(columns="verdict")
    return named.assign(method=table["method"].str.lower(), shown=shown, verdict=verdicts["verdict"], note=verdicts["note"])


def one(docs: Path, run: str, claim: str, method: str) -> pd.Series:
    """A claim of a run whose claims.csv has names; OnemaskError where it is missing."""
    table = of_run(docs, run)
    found = table[(table["claim"] == claim) & (table["method"] == method)]
    if len(found) != 1:
        raise OnemaskError(
            f"claim {claim} of {method} in run {run}", f"{len(found)}", f"`make results RUN={run}`, or correct it."
        )
    return found.iloc[0]


def statistic(docs: Path, run: str, claim: str, method: str = "rome") -> str:
    """A claim's statistic with its interval."""
    return one(docs, run, claim, method)["shown"]


def verdicts(docs: Path, run: str, method: str) -> str:
    """How many claims got which verdict."""
    table = of_run(docs, run)
    counts = table.loc[table["method"] == method, "verdict"].value_counts()
    if counts.empty:
        raise OnemaskError(f"claims of {method} in run {run}", "none", f"`make results RUN={run}`, or correct the mark.")
    return ", ".join(f"{counts.get(verdict, 0)} {verdict}" for verdict in WORDS)


def _cell(row: pd.Series) -> str:
    note = f"({row['note']})" if row["note"] else ""
    return " ".join(part for part in (WORDS[row["verdict"]], row["shown"], note) if part)


def _bound(rows: pd.DataFrame) -> str:
    """The bound, and the control with its values by method."""
    control = rows["control"].iloc[0]
    values = ", ".join(numbers.decimal(value) for value in rows["control_value"] if value)
    return rows["bound"].iloc[0] + (f"; control ({control}) {values}" if control and values else "")


def table(docs: Path, runs: dict[str, str]) -> str:
    """Every claim of the first run, a row each, with a column a run and method. runs: names by the label of their columns.

    Raises OnemaskError where another run judges a claim that the first one lacks.
    """
    tables = {label: of_run(docs, run) for label, run in runs.items()}
    first = next(iter(tables.values()))
    claims = list(dict.fromkeys(first["says"]))
    for label, other in tables.items():
        if unknown := sorted(set(other["says"]) - set(claims)):
            raise OnemaskError(f"claims of {label} among those of the first run", unknown[0], "Publish both runs anew.")
    columns = {
        f"{label}: {method.upper()}": part.set_index("says")
        for label, judged in tables.items()
        for method, part in judged.groupby("method", sort=False)
    }
    rows = []
    for says in claims:
        cells = [_cell(part.loc[says]) if says in part.index else "" for part in columns.values()]
        rows.append([says, _bound(first[first["says"] == says]), *cells])
    return markdown(["claim", "bound", *columns], rows)
