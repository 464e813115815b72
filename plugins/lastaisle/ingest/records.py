"""Read the records of a file: find its layout, drop its header, and join the lines of quoted line breaks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lastaisle.ingest.guess import Guess, guess_log_format
from lastaisle.ingest.reading.files import SourceFile
from lastaisle.ingest.reading.lines import LINES, MAX_LINE_BYTES, read_lines
from lastaisle.ingest.slices import text_of
from lastaisle.ingest.sources import Adapter
from lastaisle.ingest.sources.columns import FIRST_LINES, Columns, HeaderError, Layout, cells, is_open
from lastaisle.ingest.sources.layout import fitted

MAX_JOINED_LINES = 100
"""The most lines of one record. A quote that is not closed within them belongs to a broken line."""
_QUOTE = 34


def read_records(
    file: SourceFile, adapter: Adapter, guess: Guess = guess_log_format
) -> tuple[Adapter, Iterator[pa.RecordBatch]]:
    """Return the adapter for the layout of a file, and the records of the file as batches of LINES.

    A record is a line, or several lines if line breaks stand within quotes. It has the number of its first
    line. A header at the beginning gives no record. The same header again, in joined files, gives a record
    that `Adapter.ignored` names.

    Args:
        file: the file.
        adapter: reads the format.
        guess: says in the error which format the first lines look like.

    Raises:
        HeaderError: the header is not understood.
        SourceError: the file cannot be read, or another header begins within it.
    """
    batches = read_lines(file)
    if adapter.columns is None:
        return adapter, batches
    first = next(batches, None)
    if first is None:
        return fitted(adapter, []), batches
    lines = first["payload"].slice(0, FIRST_LINES).to_pylist()
    try:
        form = fitted(adapter, lines)
    except HeaderError as error:
        raise HeaderError(f"{file.shown}: {error}. {guess(lines, adapter.name)[1]}") from error
    layout = form.layout
    assert layout is not None
    whole = chain([first.slice(1) if layout.header is not None else first], batches)
    if layout.separator is None:
        return form, whole
    return form, _Records(file.shown, adapter.columns, layout).read(whole)


class _Records:
    """Joins the lines of a file to records.

    Args:
        url: the file, for errors.
        columns: the columns of the format.
        layout: the layout of the file, with a separator.
    """

    def __init__(self, url: str, columns: Columns, layout: Layout) -> None:
        self.url = url
        self.columns = columns
        self.layout = layout
        self.separator = layout.separator or ","
        self.open: list[_Row] = []  # the lines of a record whose quote is not closed yet
        self.time_names = columns.written(columns.time)

    def read(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield the records; a batch without an open quote passes unchanged."""
        for batch in batches:
            text = bytes(text_of(batch["payload"]))
            self._refuse_other_header(batch, text.lower())
            if not self.open and b'"' not in text:
                yield batch
                continue
            odd = _odd_quotes(batch["payload"], text)
            if not self.open and not odd.any():
                yield batch
                continue
            rows: list[_Row] = []
            for row, is_odd in zip(_rows(batch), odd.tolist(), strict=True):
                rows += self._add(row) if is_odd or self.open else [row]
            yield from _batch(rows)
        while self.open:
            yield from _batch(self._give_up())

    def _add(self, row: _Row) -> list[_Row]:
        """Return the rows that are complete with this row."""
        if not self.open:
            if row.reason is None and is_open(row.payload, self.separator):
                self.open = [row]
                return []
            return [row]
        lines = [*self.open, row]
        text = "".join(line.payload for line in lines)
        if row.reason is None and len(text) <= MAX_LINE_BYTES and len(lines) <= MAX_JOINED_LINES:
            if '"' not in row.payload or is_open(text, self.separator):
                self.open.append(row)
                return []
            if cells(text, self.separator) is not None:
                self.open = []
                return [_Row(lines[0].number, text, None)]
        return self._give_up(row)

    def _give_up(self, *more: _Row) -> list[_Row]:
        """Call the first open line broken, and read the lines after it once more."""
        first, *others = self.open
        self.open = []
        rows = [first._replace(reason="unclosed_quote")]
        for row in (*others, *more):
            rows += self._add(row)
        return rows

    def _refuse_other_header(self, batch: pa.RecordBatch, text: bytes) -> None:
        """Refuse a file in which a header with other columns begins, since its rows would be misread.

        Args:
            batch: the lines.
            text: the same lines in small letters.

        Raises:
            HeaderError: there is such a header; the message names its line.
        """
        payload = batch["payload"]
        found = {at for name in self.time_names for at in _all_places(text, name)}
        if not found:
            return
        ends = np.cumsum(_lengths(payload))
        for row in sorted({int(np.searchsorted(ends, at, side="right")) for at in found}):
            line = payload[row].as_py()
            if not self.columns.named_in(line):
                continue
            other = self.columns.layout([line])
            if (other.places, other.separator) != (self.layout.places, self.layout.separator):
                raise HeaderError(
                    f"{self.url}: in line {batch['source_row'][row]} a header of other columns begins:"
                    f" {self.columns.shown(line)}. Cut the file there"
                )


class _Row(NamedTuple):
    """One row of LINES."""

    number: int
    payload: str
    reason: str | None


def _rows(batch: pa.RecordBatch) -> Iterator[_Row]:
    """Yield the rows; each payload ends with a line end."""
    columns = (batch[name].to_pylist() for name in LINES.names)
    for number, payload, reason in zip(*columns, strict=True):
        yield _Row(number, payload if payload.endswith("\n") else f"{payload}\n", reason)


def _batch(rows: list[_Row]) -> Iterator[pa.RecordBatch]:
    if rows:
        arrays = [
            pa.array(values, kind.type) for values, kind in zip(zip(*rows, strict=True), LINES, strict=True)
        ]
        yield pa.RecordBatch.from_arrays(arrays, schema=LINES)


def _odd_quotes(payload: pa.StringArray, text: bytes) -> np.ndarray:
    """Tell which values hold an odd number of quotes; `text` is all values in sequence."""
    quotes = np.flatnonzero(np.frombuffer(text, np.uint8) == _QUOTE)
    rows = np.searchsorted(np.cumsum(_lengths(payload)), quotes, side="right")
    odd: np.ndarray = np.bincount(rows, minlength=len(payload)) % 2 == 1
    return odd


def _lengths(payload: pa.StringArray) -> np.ndarray:
    lengths: np.ndarray = pc.binary_length(payload).to_numpy(zero_copy_only=False)
    return lengths


def _all_places(text: bytes, name: bytes) -> Iterator[int]:
    at = text.find(name)
    while at >= 0:
        yield at
        at = text.find(name, at + len(name))
