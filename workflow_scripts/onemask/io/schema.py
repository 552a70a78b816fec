"""What a table's schema is: its name, its columns and their types. The schemas themselves lie in the rooms that write them."""

from dataclasses import dataclass

import pyarrow as pa

TEXT, INTEGER, REAL, FLAG = pa.string(), pa.int64(), pa.float64(), pa.bool_()
VECTOR, TEXTS, FLAGS = pa.list_(pa.float32()), pa.list_(TEXT), pa.list_(FLAG)

FACT = (("case_id", INTEGER), ("relation_id", TEXT))


@dataclass(frozen=True)
class Schema:
    """A table of Parquet files: its name, and name and type of each column, in order."""

    name: str
    columns: tuple[tuple[str, pa.DataType], ...]

    @property
    def arrow(self) -> pa.Schema:
        return pa.schema(self.columns)

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.columns]
