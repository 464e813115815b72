"""Read any content as numbered lines in bounded memory."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from lastaisle.errors import LastaisleError, SourceError
from lastaisle.ingest.reading.containers import Content, open_content
from lastaisle.ingest.reading.files import SourceFile
from lastaisle.ingest.reading.parquet import parquet_lines
from lastaisle.telemetry.shown import one_line

MAX_LINE_BYTES = 1 << 20
PAYLOAD_BYTES = 16 << 10  # the bytes of an unreadable line that are kept
LINES = pa.schema([("source_row", pa.int64()), ("payload", pa.string()), ("reason", pa.string())])

_BOM = b"\xef\xbb\xbf"
_FIRST_BOMS = re.compile(rb"(?:\A|(?<=[\r\n]))(?:\xef\xbb\xbf)+")
_LINE_END = re.compile(rb"\r\n|\r|\n")


def read_lines(source: SourceFile) -> Iterator[pa.RecordBatch]:
    """Read a file as batches of LINES: source_row (the line's number, from 1), payload, reason.

    The first bytes show whether a file is plain text, packed or Parquet. A line ends with a line feed, with a
    carriage return, or with both. Byte order marks at the beginning of a line are removed, since files may
    have been joined. Every line that is not blank gives one row. The end of a truncated packed file gives one
    row, too. `reason` is NULL for a usable line, else not_utf8, line_too_long or file_truncated.

    Args:
        source: the file.

    Raises:
        SourceError: the file cannot be opened, has the name of a Parquet file and is none, is of a kind that
            holds no lines, or is damaged, so that none of its rows can be trusted.
    """
    try:
        with source.open() as stream:
            magic = stream.read(4)
            stream.seek(0)
            if magic == b"PAR1" or source.url.endswith(".parquet"):
                yield from _numbered(parquet_lines(stream, MAX_LINE_BYTES, PAYLOAD_BYTES))
                return
            yield from _Splitter(open_content(stream))
    except LastaisleError:
        raise
    except Exception as error:  # of the file system's library, or of the library that reads the content
        raise SourceError(f"cannot read {source.shown}: {describe(error)}") from error


def describe(error: BaseException) -> str:
    """Return the message of a library's error, on one line; the name of its class if there is none."""
    return one_line(" ".join(str(error).split())) or type(error).__name__


class _Splitter:
    """Cuts chunks of bytes into batches of lines; it handles single lines only if a line is broken."""

    def __init__(self, content: Content) -> None:
        self.content = content
        self.row = 0  # lines seen so far

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        rest = b""
        skipping = False  # inside a line that is too long; `rest` holds its beginning
        for chunk in _whole_line_ends(self.content):
            data = chunk if skipping else rest + chunk
            if skipping:
                end = _LINE_END.search(data)
                if end is None:
                    continue
                yield self._broken_line(rest, "line_too_long")
                data, skipping = data[end.end() :], False
            cut = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
            if cut:
                yield from self._batch(data[:cut])
            rest = data[cut:]
            if len(rest) > MAX_LINE_BYTES:
                rest, skipping = rest[:PAYLOAD_BYTES], True
        if skipping:
            yield self._broken_line(rest, "line_too_long")
            rest = b""
        if self.content.broken:
            yield self._broken_line(rest, self.content.broken)
        elif rest:
            yield from self._batch(rest + b"\n")

    def _batch(self, block: bytes) -> Iterator[pa.RecordBatch]:
        """Yield the lines of a block that ends with the end of a line."""
        if _BOM[:1] in block and _BOM in block:  # one byte is found several times faster than three
            block = _FIRST_BOMS.sub(b"", block)
        ends = _line_ends(block)
        starts = np.concatenate([[0], ends[:-1] + 1])
        numbers = self.row + 1 + np.arange(len(ends), dtype=np.int64)
        self.row += len(ends)
        lengths = ends - starts
        blank = lengths <= 1
        if blank.any():
            blank &= (lengths == 0) | (np.frombuffer(block, np.uint8)[starts] == 13)
        if blank.all():
            return
        if lengths.max() > MAX_LINE_BYTES or not _is_utf8(block):
            kept = np.flatnonzero(~blank)
            yield _slowly([(int(numbers[i]), block[starts[i] : ends[i]]) for i in kept])
            return
        # A value extends to the next line that is not blank: the SQL trims line ends at its end.
        first = int(np.argmin(blank))
        offsets = np.append(starts[~blank], len(block)).astype(np.int32)
        offsets[0] = starts[first]
        payload = pa.StringArray.from_buffers(
            len(offsets) - 1, pa.py_buffer(offsets), pa.py_buffer(block), None, 0
        )
        reason = pa.nulls(len(payload), pa.string())
        yield pa.RecordBatch.from_arrays([pa.array(numbers[~blank]), payload, reason], schema=LINES)

    def _broken_line(self, line: bytes, reason: str) -> pa.RecordBatch:
        self.row += 1
        payload = _text(_FIRST_BOMS.sub(b"", line[:PAYLOAD_BYTES]))
        return pa.RecordBatch.from_pylist(
            [{"source_row": self.row, "payload": payload, "reason": reason}], schema=LINES
        )


def _whole_line_ends(chunks: Content) -> Iterator[bytes]:
    """Yield the same bytes, but never cut between a carriage return and what follows it."""
    held = b""
    for chunk in chunks:
        joined = held + chunk if held else chunk
        held = b"\r" if joined.endswith(b"\r") else b""
        if held:
            joined = joined[:-1]
        if joined:
            yield joined
    if held:
        yield held


def _line_ends(block: bytes) -> np.ndarray:
    """Return where the lines of a block end: at each line feed, and at each carriage return without one."""
    data = np.frombuffer(block, np.uint8)
    feeds = np.flatnonzero(data == 10)
    if b"\r" not in block:
        return feeds
    returns = np.flatnonzero(data == 13)
    followed = np.append(data, 0)[returns + 1] == 10
    return feeds if followed.all() else np.sort(np.concatenate([feeds, returns[~followed]]))


def _slowly(lines: list[tuple[int, bytes]]) -> pa.RecordBatch:
    rows = []
    for number, line in lines:
        reason = None
        if len(line) > MAX_LINE_BYTES:
            reason = "line_too_long"
        elif not _is_utf8(line):
            reason = "not_utf8"
        payload = line.decode() if reason is None else _text(line[:PAYLOAD_BYTES])
        rows.append({"source_row": number, "payload": payload, "reason": reason})
    return pa.RecordBatch.from_pylist(rows, schema=LINES)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


def _numbered(batches: Iterator[tuple[pa.StringArray, pa.StringArray]]) -> Iterator[pa.RecordBatch]:
    row = 0
    for payload, reason in batches:
        numbers = pa.array(np.arange(row + 1, row + 1 + len(payload)), pa.int64())
        row += len(payload)
        yield pa.RecordBatch.from_arrays([numbers, payload, reason], schema=LINES)
