"""Cut a long source into slices that are ingested one after another, each in bounded memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pyarrow as pa


class Slice:
    """Consecutive lines of a source; they are read once, to the end.

    Args:
        lines: record batches of `lastaisle.ingest.reading.lines.LINES`.
        salt: gives the same lines another batch id if they are read in another way.
    """

    def __init__(self, lines: Iterator[pa.RecordBatch], salt: str) -> None:
        self._lines = lines
        self._hash = hashlib.sha256(salt.encode() + b"\0")

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for batch in self._lines:
            self._hash.update(text_of(batch["payload"]))
            yield batch

    def name(self) -> str:
        """Return 16 hex characters made from the lines read so far."""
        return self._hash.hexdigest()[:16]


class Slices:
    """The slices of a stream of lines. Each slice but the last has exactly `rows` rows.

    A slice must be read to its end before the next slice is requested. A stream without lines has one slice
    without lines.

    Args:
        lines: record batches of `lastaisle.ingest.reading.lines.LINES`.
        rows: rows of a slice.
        salt: see `Slice`; the position of the slice is added to it.
    """

    def __init__(self, lines: Iterator[pa.RecordBatch], rows: int, salt: str) -> None:
        self._lines = lines
        self._rows = rows
        self._salt = salt
        self._ahead: pa.RecordBatch | None = None
        self._done = False

    def __iter__(self) -> Iterator[Slice]:
        part = 0
        while not self._done:
            yield Slice(self._slice(), f"{self._salt}/{part}" if part else self._salt)
            part += 1

    def _slice(self) -> Iterator[pa.RecordBatch]:
        wanted = self._rows
        while (batch := self._next()) is not None:
            taken = batch.slice(0, wanted)
            wanted -= taken.num_rows
            if taken.num_rows < batch.num_rows:
                self._ahead = batch.slice(taken.num_rows)
            yield taken
            if wanted == 0:
                self._ahead = self._next()
                break
        self._done = self._ahead is None

    def _next(self) -> pa.RecordBatch | None:
        ahead, self._ahead = self._ahead, None
        return ahead if ahead is not None else next(self._lines, None)


def text_of(payload: pa.StringArray) -> memoryview:
    """Return the bytes of all values in sequence, without a copy."""
    _, offsets, data = payload.buffers()
    if data is None or not len(payload):
        return memoryview(b"")
    ends = memoryview(offsets).cast("i")
    return memoryview(data)[ends[payload.offset] : ends[payload.offset + len(payload)]]
