"""The bytes of a facts file to its records, by what they are and not by the file's name; what is no such file is named."""

import csv
import gzip
import io
import json
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from onemask.data.layouts import KEYS, LISTS, Doubled
from onemask.io.errors import OnemaskError, reason, shown
from onemask.io.files import METADATA_KEY

FORMATS = "JSON, JSON lines, CSV, TSV or Parquet (docs/facts.md)"
LIMIT = 4 << 30  # bytes that a gzip file may unpack to
DELIMITERS = (",", "\t", ";")
# how files begin that are no facts, what they are, and what to do
OTHER_FILES = (
    (b"version https://git-lfs.github.com/spec/", "a Git LFS pointer", "Run `git lfs pull` where it was cloned."),
    (b"PK\x03\x04", "a zip archive", "Unpack it, and give the file in it."),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "Unpack it, and give the file in it."),
    (b"BZh", "a bzip2 file", "Unpack it, or compress it with gzip."),
    (b"\xfd7zXZ\x00", "an xz file", "Unpack it, or compress it with gzip."),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file", "Unpack it, or compress it with gzip."),
    (b"\x1f\x8b", "a gzip file within a gzip file", "Unpack it."),
    (b"%PDF", "a PDF", "Give the facts as JSON lines."),
    (b"ARROW1", "an Arrow file", "Save it as Parquet."),
    (b"SQLite format 3", "a database", "Save its table as CSV."),
    (b"\x89HDF", "an HDF5 file", "Save its table as Parquet."),
    (b"\x80\x04", "a pickle, which could run code", "Save it as JSON lines."),
    (b"\x80\x05", "a pickle, which could run code", "Save it as JSON lines."),
)
# marks of encodings; UTF-32's first begins as UTF-16's does
MARKS = ((b"\xff\xfe\0\0", "utf-32"), (b"\0\0\xfe\xff", "utf-32"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
Place = str  # of a record, as "record 3"


def read_records(path: str | Path) -> list[tuple[Place, object]]:
    """Every record of a file with its place: what its JSON, row or line says, or the OnemaskError of one that cannot be read.

    Raises OnemaskError when the file is missing, is something else, or cannot be read as a whole.
    """
    try:
        content = Path(path).read_bytes()
    except IsADirectoryError as error:
        raise OnemaskError(f"a file of facts at {path}", "a folder", "Give the file in it.") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise OnemaskError(f"facts at {path}", reason(error), "Check the path.") from error
    if content.startswith(b"\x1f\x8b"):
        content = _unpacked(content, path)
    for start, what, advice in OTHER_FILES:
        if content.startswith(start):
            raise OnemaskError(f"facts at {path}: {FORMATS}", what, advice)
    if content[257:262] == b"ustar":
        raise OnemaskError(f"facts at {path}: {FORMATS}", "a tar archive", "Unpack it, and give the file in it.")
    records = _of_parquet(content, path) if content.startswith(b"PAR1") else _of_text(_decoded(content, path), path)
    if not records:
        raise OnemaskError(f"a fact in {path}", "none" if content.strip() else "an empty file", "Add one JSON object a line.")
    return records


def _unpacked(content: bytes, path: str | Path) -> bytes:
    try:
        with gzip.open(io.BytesIO(content)) as file:
            unpacked = file.read(LIMIT + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise OnemaskError(f"a whole gzip file at {path}", reason(error), "Fetch or copy it again.") from error
    if len(unpacked) > LIMIT:
        raise OnemaskError(f"a gzip file of at most {LIMIT >> 30} GB of facts at {path}", "more", "Split it.")
    return unpacked


def _decoded(content: bytes, path: str | Path) -> str:
    encoding = next((name for mark, name in MARKS if content.startswith(mark)), "utf-8-sig")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise OnemaskError(f"facts at {path} in UTF-8", reason(error), "Save the file as UTF-8.") from error
    if "\0" in text:
        advice = "Save the file as UTF-8, or as UTF-16 with its mark (BOM)."
        raise OnemaskError(f"facts at {path}: {FORMATS}", "bytes that are no text", advice)
    if text.lstrip().startswith("<"):
        advice = "Fetch the file itself (of a hub: its raw file), not the page that shows it."
        raise OnemaskError(f"facts at {path}: {FORMATS}", "a web page", advice)
    return text


def _of_parquet(content: bytes, path: str | Path) -> list[tuple[Place, object]]:
    try:
        file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
        ours = json.loads((file.schema_arrow.metadata or {}).get(METADATA_KEY, b"{}")).get("schema")
        # without arrow's threads, which may abort a process that ends at once, as with an error
        rows = file.read(use_threads=False).to_pylist() if ours in (None, "facts") else []
    except (OSError, ValueError, pa.ArrowException) as error:
        raise OnemaskError(f"a whole Parquet file at {path}", reason(error), "Fetch or copy it again.") from error
    if ours not in (None, "facts"):
        raise OnemaskError(f"facts at {path}", f"this program's table of {ours}", "Give the file of facts that it was made from.")
    _require_once(file.schema_arrow.names, path)
    return [(f"record {number}", row) for number, row in enumerate(rows, 1)]


def _of_text(text: str, path: str | Path) -> list[tuple[Place, object]]:
    """CSV where the first line names columns that are known; else JSON, of the whole text or of each line."""
    start = text.lstrip()[:1]
    if start not in ("{", "[") and (delimiter := _delimiter(text)):
        return list(_of_csv(text, delimiter, path))
    whole = _parsed(text)
    if isinstance(whole, list | dict):
        return [(f"record {number}", record) for number, record in enumerate(whole if isinstance(whole, list) else [whole], 1)]
    # a line ends at \n alone, or \r\n: str.splitlines would end it within a text that holds U+2028
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    parsed = [(number, line, _parsed(line)) for number, line in lines] if start != "[" else []
    # an indented line is part of an object that goes over several
    if any(line.startswith("{") and isinstance(record, dict) for _, line, record in parsed):
        return [(_place(number, line), record) for number, (line, _, record) in enumerate(parsed, 1)]
    if isinstance(whole, OnemaskError) and start in ("{", "["):
        raise OnemaskError(f"{whole.expected} at {path}", whole.found, whole.do)
    if lines:
        found = f"a text that begins with {shown(lines[0][1].strip()[:60])}"
        raise OnemaskError(f"facts at {path}: {FORMATS}", found, "The first line of a CSV file names its columns.")
    return []


def _place(number: int, line: int) -> Place:
    return f"record {number}" if number == line else f"record {number} (line {line})"


def _parsed(text: str) -> object:
    """What a text of JSON says, or the OnemaskError of one that is none."""
    try:
        return json.loads(text, object_pairs_hook=_object, strict=False)
    except RecursionError:
        return OnemaskError("JSON", "lists or objects nested hundreds deep", "Correct the file.")
    except ValueError as error:
        return OnemaskError("JSON", reason(error), "Write one JSON object a line, or one list.")


def _object(pairs: list[tuple[str, object]]) -> dict:
    content = dict(pairs)
    if len(content) == len(pairs):
        return content
    return Doubled(content, [key for key, count in Counter(key for key, _ in pairs).items() if count > 1])


def _delimiter(text: str) -> str | None:
    """What separates the columns of a first line that names some which are known; None where it names none."""
    header = text.lstrip().split("\n", 1)[0]
    known = {delimiter: len(set(KEYS) & {cell.strip(' "\r') for cell in header.split(delimiter)}) for delimiter in DELIMITERS}
    best = max(known, key=lambda delimiter: known[delimiter])
    return best if known[best] > 1 else None


def _of_csv(text: str, delimiter: str, path: str | Path) -> Iterator[tuple[Place, object]]:
    """Rows as records; an empty cell is a key that is not there, and lists are written as JSON."""
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    number = 0
    try:
        for row in rows:
            if not header:
                header = [cell.strip() for cell in row]
                _require_once([name for name in header if name], path)
            elif any(cell.strip() for cell in row):
                number += 1
                yield _place(number, rows.line_num), _row(header, row)
    except csv.Error as error:
        raise OnemaskError(f"CSV at {path}", f"{reason(error)} on line {rows.line_num}", "Correct the file.") from error


def _row(header: list[str], row: list[str]) -> object:
    if len(row) > len(header):
        return OnemaskError(f"{len(header)} cells", f"{len(row)}", 'Put "quotes" around a text that holds what separates cells.')
    record: dict[str, object] = {name: cell for name, cell in zip(header, row, strict=False) if name and cell.strip()}
    for key in LISTS & set(record):
        content = _parsed(str(record[key]))
        if isinstance(content, list | dict):
            record[key] = content
    return record


def _require_once(columns: list[str], path: str | Path) -> None:
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise OnemaskError(f"columns of different names in {path}", f"{', '.join(twice)} twice", "Rename one.")
