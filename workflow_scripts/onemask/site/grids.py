"""Tables of docs/tables.yaml: rows and columns, each with keys of the measures that stand in its cells."""

from pathlib import Path

from onemask.config.load import read_yaml
from onemask.io.errors import OnemaskError
from onemask.site import numbers
from onemask.site.published import measure

FORMS = ("as", "digits", "bold")  # how a cell is written; every other key names a measure


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown; a line break or a pipe in a cell is an OnemaskError."""
    for row in (header, *rows):
        if any("\n" in text or "|" in text.replace("\\|", "") for text in row):
            raise OnemaskError("cells of one line without a pipe", str(row), "Correct docs/tables.yaml.")
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("|" + "".join(f" {text} |" if text else " |" for text in line) for line in lines)


def cell(docs: Path, run: str, keys: dict) -> str:
    """One or several measures (a list under `metric`) as text."""
    form, digits, bold = keys.pop("as", "interval"), keys.pop("digits", 2), keys.pop("bold", False)
    metrics = keys.pop("metric")
    texts = []
    for metric in metrics if isinstance(metrics, list) else [metrics]:
        named = {key: str(value) for key, value in keys.items()} | {"metric": metric}
        texts.append(numbers.shown(measure(docs, run, named), form, digits))
    text = ", ".join(texts)
    return f"**{text}**" if bold else text


def table(docs: Path, run: str, name: str) -> str:
    """A table of docs/tables.yaml from the measures of a run.

    A cell's keys are the table's `keys`, then its column's, its row's, and those of `cells: {row: {column: ...}}`, the later
    before the earlier; null leaves a cell empty. Raises OnemaskError for a table that is not there or a measure that is missing.
    """
    tables = read_yaml(docs / "tables.yaml")
    if name not in tables:
        raise OnemaskError(f"a table out of {', '.join(tables)}", name, "Correct the mark, or add it to docs/tables.yaml.")
    spec, rows = tables[name], []
    for label, of_row in spec["rows"].items():
        cells = []
        for column, of_column in spec["columns"].items():
            own = spec.get("cells", {}).get(label, {}).get(column, {})
            keys = spec.get("keys", {}) | (of_column or {}) | (of_row or {}) | (own or {})
            cells.append("" if own is None else cell(docs, run, keys))
        rows.append([label, *cells])
    return markdown([spec.get("corner", ""), *spec["columns"]], rows)
