"""Read Parquet files as lines of JSON, so that every adapter of JSON reads them too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from lastaisle.errors import SourceError
from lastaisle.lake.workspace import open_tables

ROWS_AT_ONCE = 32_768


def parquet_lines(stream: IO[bytes], url: str) -> Iterator[pa.StringArray]:
    """Yield the rows as lines of JSON, with every value that is not nested as text.

    Raises:
        SourceError: the file has no columns.
        pyarrow.ArrowInvalid: the file is no Parquet file.
    """
    with open_tables() as connection:
        for batch in pq.ParquetFile(stream).iter_batches(batch_size=ROWS_AT_ONCE):
            rows = pa.Table.from_batches([batch])
            if not rows.num_columns:
                raise SourceError(f"{url} is a Parquet file without columns")
            connection.register("rows", rows)
            members = ", ".join(f"{_literal(field.name)}: {_plain(field)}" for field in rows.schema)
            lines = connection.sql(f"SELECT to_json({{{members}}})::VARCHAR AS line FROM rows")
            yield lines.to_arrow_table()["line"].combine_chunks().cast(pa.string())


def _plain(column: pa.Field) -> str:
    name = '"' + column.name.replace('"', '""') + '"'
    return name if pa.types.is_nested(column.type) else f"{name}::VARCHAR"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
