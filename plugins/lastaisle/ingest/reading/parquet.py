"""Read Parquet files as lines of JSON in bounded memory, so that every adapter of JSON reads them too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_contracts.privacy import literal, quote
from lastaisle.ingest.reading.arrow_values import decoded, shortened, value_sizes
from lastaisle.lake.workspace import open_tables

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

ROWS_AT_ONCE = 8_192
BYTES_AT_ONCE = 16 << 20  # of values, after every repeated text is written out
_TEXT_BEGINNING = 1_000  # the characters of each text that stay in a row that is too long
_MOST_UNPACKED = 1 << 30  # bytes of one column in one row group, if they are packed
_MOST_PACKED = 1_000  # so many times
#: Whole numbers up to here are exact as FLOAT or DOUBLE; ids are often stored so where some are missing.
_EXACT = {"FLOAT": 1 << 24, "DOUBLE": 1 << 53}

Rows = tuple[pa.StringArray, pa.StringArray]


def parquet_lines(stream: IO[bytes], max_line_bytes: int, payload_bytes: int) -> Iterator[Rows]:
    """Yield rows as lines of JSON, with every value that is not nested as text, and their reasons.

    The reason is NULL for a usable row, else not_utf8, line_too_long, unreadable_value (a value that DuckDB
    cannot hold) or inexact_number (a whole DOUBLE so large that its last digits are lost, such as an id). A
    text without the mark of UTF-8 is decoded as UTF-8. A number without a fraction is written without a
    decimal point.

    Args:
        stream: the file.
        max_line_bytes: the bytes of values from which a row is too long.
        payload_bytes: the bytes of an unusable row that are kept.

    Raises:
        OSError: the file has no columns, two columns of one name, or unpacks to too much.
        pyarrow.ArrowException: the file is no Parquet file, or is damaged or encrypted.
    """
    file = pq.ParquetFile(stream)
    _refuse_columns(file)
    # A text that repeats stays a number in a dictionary until its rows are cut into small parts.
    texts = [file.schema.column(position).path for position in range(len(file.schema))]
    stream.seek(0)
    file = pq.ParquetFile(stream, read_dictionary=texts)
    with open_tables() as connection:
        writer = _Writer(connection, payload_bytes)
        for batch in file.iter_batches(batch_size=ROWS_AT_ONCE):
            sizes = sum((value_sizes(column) for column in batch.columns), np.zeros(batch.num_rows, np.int64))
            for start, end, too_long in _parts(sizes, max_line_bytes):
                yield from writer.write(
                    batch.slice(start, end - start), "line_too_long" if too_long else None
                )


def _refuse_columns(file: pq.ParquetFile) -> None:
    names = file.schema_arrow.names
    if not names:
        raise OSError("it is a Parquet file without columns")
    same = [name for name, count in Counter(map(str.lower, names)).items() if count > 1]
    if same:
        found = ", ".join(repr(name) for name in names if name.lower() in same)
        raise OSError(f"its columns {found} differ only in their capitals: rename all but one")
    for group in range(file.metadata.num_row_groups):
        for position in range(file.metadata.num_columns):
            column = file.metadata.row_group(group).column(position)
            unpacked, packed = column.total_uncompressed_size, max(1, column.total_compressed_size)
            if unpacked > _MOST_UNPACKED and unpacked / packed > _MOST_PACKED:
                raise OSError(
                    f"its column {column.path_in_schema!r} unpacks from {packed:,} bytes to {unpacked:,} in "
                    "one row group: write smaller row groups"
                )


def _parts(sizes: np.ndarray, max_line_bytes: int) -> Iterator[tuple[int, int, bool]]:
    """Yield the rows of a batch in parts of at most BYTES_AT_ONCE; rows that are too long come apart."""
    too_long = sizes > max_line_bytes
    start = total = 0
    for row, size in enumerate(np.where(too_long, 0, sizes).tolist()):
        total += size
        if row > start and (total > BYTES_AT_ONCE or too_long[row] != too_long[start]):
            yield start, row, bool(too_long[start])
            start, total = row, size
    if start < len(sizes):
        yield start, len(sizes), bool(too_long[start])


class _Writer:
    """Writes rows as lines of JSON, by DuckDB."""

    def __init__(self, connection: DuckDBPyConnection, payload_bytes: int) -> None:
        self.connection = connection
        self.payload_bytes = payload_bytes

    def write(self, rows: pa.RecordBatch, reason: str | None) -> Iterator[Rows]:
        """Yield rows with a reason that all of them have; rows that cannot be written come one by one."""
        columns = [shortened(column, _TEXT_BEGINNING) if reason else column for column in rows.columns]
        try:
            plain = pa.RecordBatch.from_arrays([decoded(column) for column in columns], rows.schema.names)
            lines = self._json(plain)
        except _unwritable() as error:
            if rows.num_rows > 1:
                half = rows.num_rows // 2
                yield from self.write(rows.slice(0, half), reason)
                yield from self.write(rows.slice(half), reason)
                return
            lines, reason = _as_python(rows), reason or _reason(error)
        else:
            if reason is None:
                yield lines, _inexact(plain)
                return
        kept = [line.encode()[: self.payload_bytes].decode("utf-8", "ignore") for line in lines.to_pylist()]
        yield pa.array(kept, pa.string()), pa.array([reason] * len(kept), pa.string())

    def _json(self, rows: pa.RecordBatch) -> pa.StringArray:
        self.connection.register("rows", pa.Table.from_batches([rows]))
        members = ", ".join(f"{literal(field.name)}: {_text_sql(field)}" for field in rows.schema)
        lines = self.connection.sql(f"SELECT to_json({{{members}}})::VARCHAR AS line FROM rows")
        return lines.to_arrow_table()["line"].combine_chunks().cast(pa.string())


def _unwritable() -> tuple[type[Exception], ...]:
    """Return the errors of values that cannot be written; DuckDB may not be loaded before a fork."""
    import duckdb

    return pa.ArrowException, duckdb.DataError, duckdb.InvalidInputException, duckdb.NotSupportedError


def _reason(error: Exception) -> str:
    return (
        "not_utf8"
        if isinstance(error, pa.ArrowInvalid) and "UTF8" in str(error).upper()
        else "unreadable_value"
    )


def _inexact(rows: pa.RecordBatch) -> pa.StringArray:
    """Return the reason inexact_number for each row with a DOUBLE that has lost digits before the point."""
    inexact = np.zeros(rows.num_rows, bool)
    for column in rows.columns:
        if pa.types.is_float64(column.type):
            numbers = column.fill_null(0).to_numpy(zero_copy_only=False)
            inexact |= np.isfinite(numbers) & (np.abs(numbers) >= _EXACT["DOUBLE"])
    return pa.array(np.full(len(inexact), "inexact_number"), pa.string(), mask=~inexact)


def _as_python(rows: pa.RecordBatch) -> pa.StringArray:
    """Return one row as Python writes its values."""
    texts = []
    for name, column in zip(rows.schema.names, rows.columns, strict=True):
        short = shortened(column, _TEXT_BEGINNING)
        try:
            texts.append(f"{name!r}: {short[0].as_py()!r}")
        except (pa.ArrowException, ValueError, OverflowError) as error:
            texts.append(f"{name!r}: ({error})")
    return pa.array([f"{{{', '.join(texts)}}}"], pa.string())


def _text_sql(column: pa.Field) -> str:
    """Return the SQL of a column as text; of a nested column as it is."""
    name = quote(column.name)
    if pa.types.is_nested(column.type):
        return name
    if pa.types.is_floating(column.type):
        kind = "DOUBLE" if pa.types.is_float64(column.type) else "FLOAT"
        number = f"{name}::{kind}"
        whole = f"abs({number}) < {_EXACT[kind]} AND {number} = trunc({number})"
        return f"CASE WHEN {whole} THEN {number}::BIGINT::VARCHAR ELSE {number}::VARCHAR END"
    if pa.types.is_decimal(column.type) and column.type.scale > 0:
        return f"regexp_replace({name}::VARCHAR, '\\.0+$', '')"
    return f"{name}::VARCHAR"
