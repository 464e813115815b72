"""Cut a long source into slices that are taken in one after another, each in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa


class Slices:
    """The slices of a stream of lines: all of `rows` rows but the last, wherever its batches end.

    Each slice has to be read to its end before the next is asked for. `done` tells after a slice whether it
    was the last. A stream without lines has one slice without lines.

    Args:
        lines: record batches of `lastaisle.ingest.files.LINES`.
        rows: rows of a slice.
    """

    def __init__(self, lines: Iterator[pa.RecordBatch], rows: int) -> None:
        self.lines = lines
        self.rows = rows
        self.done = False
        self._ahead: pa.RecordBatch | None = None

    def __iter__(self) -> Iterator[Iterator[pa.RecordBatch]]:
        while not self.done:
            yield self._slice()

    def _slice(self) -> Iterator[pa.RecordBatch]:
        wanted = self.rows
        while (batch := self._next()) is not None:
            taken = batch.slice(0, wanted)
            wanted -= taken.num_rows
            if taken.num_rows < batch.num_rows:
                self._ahead = batch.slice(taken.num_rows)
            yield taken
            if wanted == 0:
                self._ahead = self._next()
                break
        self.done = self._ahead is None

    def _next(self) -> pa.RecordBatch | None:
        ahead, self._ahead = self._ahead, None
        return ahead if ahead is not None else next(self.lines, None)
