"""Read Parquet files as lines of JSON, so that every adapter of JSON reads them too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lastaisle.errors import SourceError
from lastaisle.lake.workspace import open_tables

ROWS_AT_ONCE = 32_768
_A_SECOND = {"s": 1, "ms": 1000}
_MOST_MICROSECONDS = 2**63 - 2


def parquet_lines(stream: IO[bytes], url: str) -> Iterator[pa.StringArray]:
    """Yield the rows as lines of JSON, with every value that is not nested as text.

    Raises:
        SourceError: the file has no columns.
        pyarrow.ArrowInvalid: the file is no Parquet file.
    """
    with open_tables() as connection:
        for batch in pq.ParquetFile(stream).iter_batches(batch_size=ROWS_AT_ONCE):
            if not batch.num_columns:
                raise SourceError(f"{url} is a Parquet file without columns")
            rows = pa.table([_readable(column) for column in batch.columns], names=batch.schema.names)
            connection.register("rows", rows)
            members = ", ".join(f"{_literal(field.name)}: {_plain(field)}" for field in rows.schema)
            lines = connection.sql(f"SELECT to_json({{{members}}})::VARCHAR AS line FROM rows")
            yield lines.to_arrow_table()["line"].combine_chunks().cast(pa.string())


def _readable(column: pa.Array) -> pa.Array:
    """Return a column whose times DuckDB can hold; far times become text with their number and unit.

    DuckDB counts microseconds. A far time in seconds or milliseconds would stop the whole file.
    """
    kind = column.type
    if not pa.types.is_timestamp(kind) or kind.unit not in _A_SECOND:
        return column
    numbers = column.cast(pa.int64())
    most = _MOST_MICROSECONDS * _A_SECOND[kind.unit] // 1_000_000
    near = pc.and_(pc.less_equal(numbers, most), pc.greater_equal(numbers, -most))
    if pc.all(near).as_py() is not False:
        return column
    times = pc.if_else(near, column, pa.scalar(None, kind)).cast(pa.timestamp("us", tz=kind.tz))
    far = pc.binary_join_element_wise(numbers.cast(pa.string()), kind.unit, " ")
    return pc.if_else(near, times.cast(pa.string()), far)


def _plain(column: pa.Field) -> str:
    name = '"' + column.name.replace('"', '""') + '"'
    return name if pa.types.is_nested(column.type) else f"{name}::VARCHAR"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
