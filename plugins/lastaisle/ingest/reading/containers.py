"""Unpack gzip, bzip2, xz and Zstandard in bounded memory, also where one is packed in another."""

from __future__ import annotations

import bz2
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Protocol

from backports import zstd

from lastaisle.ingest.reading.file_kinds import HEAD_BYTES, name_unreadable_kind

CHUNK_BYTES = 1 << 20  # the most bytes that one step unpacks
MAX_DEPTH = 3  # how often a file may be packed
READ_BYTES = 1 << 20  # of the file, in one step
_XZ_MEMORY = 256 << 20  # the strongest level of xz needs 65 MiB to unpack


class Content:
    """The bytes of a file, chunk by chunk; they are read once.

    Attributes:
        head: the first bytes; HEAD_BYTES, or all if there are fewer.
        broken: the reason of a premature end, or None; known after the last chunk.
    """

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self.broken: str | None = None
        first = b""
        for chunk in chunks:
            first += chunk
            if len(first) >= HEAD_BYTES:
                break
        self._first = first
        self.head = first[:HEAD_BYTES]

    def __iter__(self) -> Iterator[bytes]:
        first, self._first = self._first, b""
        if first:
            yield first
        yield from self._chunks


class _Decoder(Protocol):
    """A decompressor of the standard library for one member, or one frame."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _GzipDecoder:
    """zlib's decompressor with the interface of the other ones."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=31)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._member.eof

    @property
    def unused_data(self) -> bytes:
        return self._member.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        unpacked = self._member.decompress(self._member.unconsumed_tail + data, max_length)
        self.needs_input = not self._member.unconsumed_tail and len(unpacked) < max_length
        return unpacked


_CODECS: tuple[tuple[str, re.Pattern[bytes], Callable[[], _Decoder]], ...] = (
    ("gzip", re.compile(rb"\x1f\x8b"), _GzipDecoder),
    ("bzip2", re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"), bz2.BZ2Decompressor),
    ("xz", re.compile(rb"\xfd7zXZ\x00"), lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY)),
    ("zstd", re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"), zstd.ZstdDecompressor),
)


def open_content(stream: IO[bytes]) -> Content:
    """Return the unpacked bytes of a file that holds lines.

    Raises:
        OSError: the file holds no lines, or `unpack` cannot read it.
    """
    content, inside = unpack(stream)
    if kind := name_unreadable_kind(content.head):
        raise OSError(f"{kind}{inside}")
    return content


def unpack(stream: IO[bytes]) -> tuple[Content, str]:
    """Return the unpacked bytes of a file, and how it is packed, for messages.

    The first bytes decide how it is packed, not its name.

    Raises:
        OSError: the file is damaged, or is packed more than MAX_DEPTH times. For damage that lies further
            back, the reading of the chunks raises it.
    """
    content = Content(iter(lambda: stream.read(READ_BYTES), b""))
    packed_by: list[str] = []
    while codec := next((codec for codec in _CODECS if codec[1].match(content.head)), None):
        name, _, start = codec
        if len(packed_by) == MAX_DEPTH:
            raise OSError(f"is packed more than {MAX_DEPTH} times: unpack it")
        packed_by.append(name)
        content = _Unpacked(content, name, start)
    if packed_by and content.head.startswith(b"PAR1"):
        raise OSError(f"is a Parquet file inside {packed_by[0]}: unpack it")
    return content, f" (inside {', '.join(packed_by)})" if packed_by else ""


class _Unpacked(Content):
    """The unpacked bytes of one member or many; bytes before a premature end are kept."""

    def __init__(self, packed: Content, name: str, start: Callable[[], _Decoder]) -> None:
        self._packed = packed
        self._name = name
        self._start = start
        self._cut = False
        super().__init__(self._unpack())

    def __iter__(self) -> Iterator[bytes]:
        yield from super().__iter__()
        self.broken = "file_truncated" if self._cut else self._packed.broken

    def _unpack(self) -> Iterator[bytes]:
        decoder = self._start()
        for data in self._packed:
            left = data
            while left or not (decoder.needs_input or decoder.eof):
                if decoder.eof:
                    left = left.lstrip(b"\x00")  # padding after a member, as gzip -d takes it
                    if not left:
                        break
                    decoder = self._start()
                unpacked = self._decompress(decoder, left)
                left = decoder.unused_data if decoder.eof else b""
                if unpacked:
                    yield unpacked
        self._cut = not decoder.eof

    def _decompress(self, decoder: _Decoder, data: bytes) -> bytes:
        try:
            return decoder.decompress(data, CHUNK_BYTES)
        except (zlib.error, lzma.LZMAError, zstd.ZstdError, OSError, EOFError, ValueError) as error:
            raise OSError(f"its {self._name} data is damaged ({error}): fetch it again") from error
