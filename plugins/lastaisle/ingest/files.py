"""Find the files of a source, and read any content as numbered lines in bounded memory."""

from __future__ import annotations

import re
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, Any

import fsspec
import numpy as np
import pyarrow as pa

from lastaisle.errors import SourceError
from lastaisle.ingest.parquet import parquet_lines

CHUNK_BYTES = 1 << 20
MAX_LINE_BYTES = 1 << 20
PAYLOAD_BYTES = 16 << 10  # the bytes of an unreadable line that are kept
LINES = pa.schema([("source_row", pa.int64()), ("payload", pa.string()), ("reason", pa.string())])

_BOM = b"\xef\xbb\xbf"
_UNFINISHED = re.compile(r"(^|/)[._][^/]*$|\.(tmp|part|partial|crdownload|inprogress)$")


class FileChangedError(SourceError):
    """A file was changed between its listing and its last line; the next run reads it."""


@dataclass(frozen=True)
class SourceFile:
    """One file of a source.

    Attributes:
        url: its path or URL, as the tables name it.
        size: bytes.
        options: the options of fsspec for this file.
        state: a text that changes with the content: size and time of the last change, or the identifier of an
            upload to an object store. Empty if the store reports neither.
        modified: the time of the last change, in seconds since 1970. None if the store shows only complete
            files.
    """

    url: str
    size: int
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    state: str = ""
    modified: float | None = None

    def changed_within(self, seconds: float) -> bool:
        """Tell whether the file was changed within the last seconds, so that it may still be growing."""
        return self.modified is not None and abs(time.time() - self.modified) < seconds

    def open(self) -> IO[bytes]:
        """Open the file for reading bytes."""
        stream: IO[bytes] = fsspec.open(self.url, "rb", **self.options).open()
        return stream

    def refuse_changed(self) -> None:
        """Refuse a file that changed since it was listed.

        Raises:
            FileChangedError: the file was changed.
            SourceError: the file is gone.
        """
        if not self.state:
            return
        try:
            filesystem, path = fsspec.core.url_to_fs(self.url, **self.options)
            filesystem.invalidate_cache(path)
            state, _ = _state(filesystem.info(path))
        except OSError as error:
            raise SourceError(f"{self.url} went away while it was read ({error})") from error
        if state != self.state:
            raise FileChangedError(f"{self.url} changed while it was read: was {self.state}, is {state}")


def list_files(source: str, options: Mapping[str, Any] | None = None) -> list[SourceFile]:
    """List the files of a source in the order of their names.

    Args:
        source: a file, a folder (with all folders below it) or a glob pattern; a path or any fsspec URL.
            Names that begin with a dot or an underscore, or end like half-uploaded files, are skipped.
        options: the options of fsspec for this source.

    Raises:
        SourceError: the source does not exist, or it cannot be reached.
    """
    options = dict(options or {})
    try:
        filesystem, path = fsspec.core.url_to_fs(str(source), **options)
        filesystem.invalidate_cache()
        if any(sign in path for sign in "*?["):
            entries = filesystem.glob(path, detail=True)
        elif filesystem.isdir(path):
            entries = filesystem.find(path, detail=True)
        else:
            entries = {path: filesystem.info(path)}
    except (OSError, ValueError, ImportError) as error:
        raise SourceError(f"cannot read the source {source!r}: {error or type(error).__name__}") from error
    local = "file" in np.atleast_1d(filesystem.protocol).tolist()
    return [
        SourceFile(
            name if local else str(filesystem.unstrip_protocol(name)),
            int(info["size"] or 0),
            options,
            *_state(info),
        )
        for name, info in sorted(entries.items())
        if info["type"] == "file" and (name == path or not _UNFINISHED.search(name))
    ]


def _state(info: Mapping[str, Any]) -> tuple[str, float | None]:
    """Return a text that changes with the content of a file, and the time of its last change.

    An upload to an object store appears only when it is complete, so its time is not needed.
    """
    for name in ("ETag", "etag", "generation"):
        if info.get(name):
            return f"{info['size']} {name} {info[name]}".replace('"', ""), None
    for name in ("mtime", "created"):
        changed = info.get(name)
        if changed is not None:
            seconds = changed.timestamp() if isinstance(changed, datetime) else float(changed)
            return f"{info['size']} bytes of {seconds!r}", seconds
    return "", None


def read_lines(source: SourceFile) -> Iterator[pa.RecordBatch]:
    """Read a file as batches of LINES: source_row (the line's number, from 1), payload, reason.

    The first bytes show whether a file is plain text, gzip or Parquet. Every line that is not blank gives one
    row. The end of a truncated gzip file gives one row, too. `reason` is NULL for a usable line, else
    not_utf8, line_too_long or file_truncated.

    Args:
        source: the file.

    Raises:
        SourceError: the file cannot be opened, has the name of a Parquet file and is none, or is damaged, so
            that none of its rows can be trusted.
    """
    try:
        with source.open() as stream:
            magic = stream.read(4)
            stream.seek(0)
            if magic == b"PAR1" or source.url.endswith(".parquet"):
                yield from _read_parquet(source, stream)
                return
            unpacked = _Unpacked(stream) if magic[:2] == b"\x1f\x8b" else _Plain(stream)
            yield from _Splitter(unpacked)
    except (OSError, pa.ArrowInvalid) as error:
        raise SourceError(f"cannot read {source.url}: {error or type(error).__name__}") from error


class _Plain:
    """The bytes of a stream, chunk by chunk; `broken` is the reason of a premature end."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream
        self.broken: str | None = None

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self.stream.read(CHUNK_BYTES):
            yield chunk


class _Unpacked(_Plain):
    """The unpacked bytes of a gzip stream of one member or many; bytes before a cut are kept."""

    def __iter__(self) -> Iterator[bytes]:
        member = zlib.decompressobj(wbits=31)
        try:
            while packed := self.stream.read(CHUNK_BYTES // 4):
                while packed:
                    if member.eof:
                        member = zlib.decompressobj(wbits=31)
                    if data := member.decompress(packed, CHUNK_BYTES):
                        yield data
                    packed = member.unused_data if member.eof else member.unconsumed_tail
        except zlib.error as error:
            raise OSError(f"its gzip data is damaged ({error}), fetch it again") from error
        if not member.eof:
            self.broken = "file_truncated"


class _Splitter:
    """Cuts chunks of bytes into batches of lines; it handles single lines only if a line is broken."""

    def __init__(self, chunks: _Plain) -> None:
        self.chunks = chunks
        self.row = 0  # lines seen so far

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        rest = b""
        skipping = False  # inside a line that is too long; `rest` holds its beginning
        for chunk in self.chunks:
            data = chunk if skipping else rest + chunk
            if skipping:
                end = data.find(b"\n")
                if end < 0:
                    continue
                yield self._broken_line(rest, "line_too_long")
                data, skipping = data[end + 1 :], False
            cut = data.rfind(b"\n") + 1
            if cut:
                yield from self._batch(data[:cut])
            rest = data[cut:]
            if len(rest) > MAX_LINE_BYTES:
                rest, skipping = rest[:PAYLOAD_BYTES], True
        if skipping:
            yield self._broken_line(rest, "line_too_long")
            rest = b""
        if self.chunks.broken:
            yield self._broken_line(rest, self.chunks.broken)
        elif rest:
            yield from self._batch(rest + b"\n")

    def _batch(self, block: bytes) -> Iterator[pa.RecordBatch]:
        """Yield the lines of a block that ends with the end of a line."""
        if self.row == 0 and block.startswith(_BOM):
            block = block[len(_BOM) :]
        ends = np.flatnonzero(np.frombuffer(block, np.uint8) == 10)
        starts = np.concatenate([[0], ends[:-1] + 1])
        numbers = self.row + 1 + np.arange(len(ends), dtype=np.int64)
        self.row += len(ends)
        lengths = ends - starts
        blank = (lengths == 0) | ((lengths == 1) & (np.frombuffer(block, np.uint8)[starts] == 13))
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
        return pa.RecordBatch.from_pylist(
            [{"source_row": self.row, "payload": _text(line[:PAYLOAD_BYTES]), "reason": reason}], schema=LINES
        )


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


def _read_parquet(source: SourceFile, stream: IO[bytes]) -> Iterator[pa.RecordBatch]:
    row = 0
    for payload in parquet_lines(stream, source.url):
        numbers = pa.array(np.arange(row + 1, row + 1 + len(payload)), pa.int64())
        row += len(payload)
        reason = pa.nulls(len(payload), pa.string())
        yield pa.RecordBatch.from_arrays([numbers, payload, reason], schema=LINES)
