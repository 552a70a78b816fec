"""Reading and writing artefacts: atomic, schema-checked, with provenance inside the file."""

import contextlib
import hashlib
import importlib.metadata
import json
import os
import tempfile
from collections.abc import Generator, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from onemask.io.errors import REMAKE, OnemaskError, reason
from onemask.io.schema import Schema

METADATA_KEY = b"onemask"
PACKAGES = ("torch", "transformers", "numpy", "pandas", "pyarrow", "scipy")


@contextlib.contextmanager
def writing(path: str | Path) -> Generator[None, None, None]:
    """Within the block, a full disk or a place that cannot be written is an OnemaskError that names `path`."""
    try:
        yield
    except OSError as error:
        advice = "Free the space or mend the permissions, then run again."
        raise OnemaskError(f"to write {path}", error.strerror or reason(error), advice) from error


@contextlib.contextmanager
def replacing(path: str | Path) -> Generator[Path, None, None]:
    """Give a temporary name beside `path` and rename it to `path` only when the block ends well."""
    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def sha256(path: str | Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(value: object) -> str:
    """SHA-256 of a value's JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def installed_versions() -> dict[str, str]:
    """Versions of the packages that matter, of those that this rule's environment holds."""
    versions = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def write_table(path: str | Path, schema: Schema, rows: pd.DataFrame | list[dict], provenance: dict) -> None:
    """Write `rows` as Parquet under a schema.

    Raises OnemaskError when a column is missing, unknown or of another type.
    """
    frame = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(rows, columns=schema.names)
    if set(frame.columns) != set(schema.names):
        difference = sorted(set(frame.columns) ^ set(schema.names))
        raise OnemaskError(f"the columns of schema {schema.name}", f"a difference in {difference}", f"Mend the writer of {path}.")
    try:
        table = pa.Table.from_pandas(frame[schema.names], schema=schema.arrow, preserve_index=False)
    except (pa.ArrowException, OverflowError) as error:
        raise OnemaskError(f"rows of schema {schema.name}", str(error), f"Mend the writer of {path}.") from error
    metadata = {**provenance, "schema": schema.name}
    table = table.replace_schema_metadata({METADATA_KEY: json.dumps(metadata, sort_keys=True)})
    with replacing(path) as temporary:
        # without checksums, a flipped bit would be read as another number
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)


@contextlib.contextmanager
def _parquet(path: str | Path) -> Generator[None, None, None]:
    """Within the block, a Parquet file that cannot be read is an OnemaskError that names it."""
    if not Path(path).is_file():
        raise OnemaskError(f"a whole Parquet file at {path}", "no such file", "Correct the path, or run again to make it.")
    try:
        yield
    except (OSError, ValueError, pa.ArrowException) as error:
        raise OnemaskError(f"a whole Parquet file at {path}", reason(error), REMAKE) from error


def read_arrow(path: str | Path, schema: Schema) -> pa.Table:
    """Read a Parquet file and check that it was written under a schema.

    Raises OnemaskError when the file is missing, truncated, corrupt or of another schema.
    """
    with _parquet(path):
        table = pq.read_table(path, page_checksum_verification=True)
        found = ", ".join(f"{field.name}: {field.type}" for field in table.schema)
    if not table.schema.equals(schema.arrow):
        raise OnemaskError(f"schema {schema.name} ({', '.join(schema.names)}) in {path}", found, REMAKE)
    return table


def read_table(path: str | Path, schema: Schema) -> pd.DataFrame:
    """`read_arrow` as a data frame; list columns become Python lists."""
    table = read_arrow(path, schema)
    columns = zip(table.schema, table.columns, strict=True)
    # integers of which some are missing stay integers
    missing = {field.name: "Int64" for field, column in columns if pa.types.is_integer(field.type) and column.null_count}
    with _parquet(path):
        return table.to_pandas().astype(missing)


def read_tables(paths: Sequence[str | Path], schema: Schema) -> pd.DataFrame:
    """Concatenate several files of one schema, in the order given."""
    return pd.concat([read_table(path, schema) for path in paths], ignore_index=True)


def read_provenance(path: str | Path) -> dict:
    """The metadata that `write_table` put into a Parquet file; OnemaskError when there is none."""
    with _parquet(path):
        metadata = pq.read_schema(path).metadata or {}
        if METADATA_KEY not in metadata:
            raise OnemaskError(f"provenance in {path}", "none", "Take the file that the pipeline or `onemask edit` wrote.")
        return json.loads(metadata[METADATA_KEY])


def write_text(path: str | Path, text: str) -> None:
    """Write a text file atomically, UTF-8."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
