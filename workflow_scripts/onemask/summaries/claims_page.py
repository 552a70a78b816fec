"""The `claims` table for people: a table of texts, its summary, and the page that the report opens with."""

import re

import pandas as pd

from onemask.summaries.claims import VERDICTS


def wide(table: pd.DataFrame) -> pd.DataFrame:
    """The `claims` table for people; cells are text."""
    value = [_interval(row) for row in table.itertuples()]
    control = [f"{row.control}: {row.control_value:.3g}" if row.control and row.n else row.control for row in table.itertuples()]
    p = ["" if pd.isna(p) else f"{p:.2g}" for p in table["p_holm"]]
    verdict = [f"{row.verdict} ({row.note})" if row.note else row.verdict for row in table.itertuples()]
    found = table[["model", "method", "says", "source"]].assign(
        value=value, bound=table["bound"], control=control, p=p, verdict=verdict
    )
    several = [key for key in ("model", "method") if table[key].nunique() > 1]
    found["method"] = found["method"].str.upper()
    return found[[*several, *found.columns[2:]]].rename(columns={"says": "claim", "source": "in the paper", "p": "p (Holm)"})


def _interval(row) -> str:
    if not row.n:
        return ""
    return f"{row.value:.3g}" + ("" if pd.isna(row.ci_low) else f" [{row.ci_low:.3g}, {row.ci_high:.3g}]")


def summary(table: pd.DataFrame) -> str:
    """How many claims got which verdict, a line a model and method, and how many of the edits behind them are unstable."""
    lines = []
    for (model, method), part in table.groupby(["model", "method"], sort=False):
        counts = part["verdict"].value_counts().reindex(VERDICTS, fill_value=0)
        words = ", ".join(f"{count} {name}" for name, count in counts.items())
        behind = f"{part['unstable'].iloc[0]} of {part['edits'].iloc[0]} test edits are unstable"
        lines.append(f"{method.upper()} on {model}: of {len(part)} claims {words}; {behind}.")
    return "\n".join(lines)


def _rst(text: object) -> str:
    return re.sub(r"([\\*`|_])", r"\\\1", str(text))


def opening(shown: pd.DataFrame, found: str, note: str, run: str) -> str:
    """The report's first page in reStructuredText, from `wide` and `summary`."""
    lines = [f"Claims of the paper, run {_rst(run)}", "=" * 60, ""]
    lines += [f"- {_rst(line)}" for line in found.splitlines()]
    lines += ["", f"{_rst(note)} Every figure and table has its caption behind the sign (i).", "", ".. list-table::"]
    lines += ["   :header-rows: 1", ""]
    for row in [list(shown.columns), *shown.to_numpy().tolist()]:
        lines += [f"   {' ' if at else '*'} - {_rst(cell)}" for at, cell in enumerate(row)]
    return "\n".join(lines) + "\n"
