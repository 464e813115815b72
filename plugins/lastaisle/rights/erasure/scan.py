"""Search every byte of a file: as it lies there, decompressed, and, of Parquet, the values of its columns."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lastaisle.rights.erasure.needles import Needles

_PARQUET: Final = b"PAR1"
_ZIP: Final = b"PK\x03\x04"
_COMPRESSED: Final = {b"\x1f\x8b": gzip.decompress, b"BZh": bz2.decompress, b"\xfd7zXZ\x00": lzma.decompress}
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_DEEPEST: Final = 4  # an archive in an archive in an archive


@dataclass
class Searched:
    """What a search found in one file.

    Attributes:
        bytes: the bytes that were searched: the file's own, and those that it decodes to.
        found: places at which a text stood.
        rows: of a Parquet file, the numbers of the rows of these places, where a row has them.
        texts: for each text that was found, by its number: the rows or the places.
        unreadable: whether the file could not be decoded.
    """

    bytes: int = 0
    found: int = 0
    rows: set[int] = field(default_factory=set)
    texts: Counter[int] = field(default_factory=Counter)
    unreadable: bool = False


def search(content: bytes | memoryview, needles: Needles) -> Searched:
    """Search a file, given as its bytes; those of a large file are mapped, and decoded only if packed."""
    searched = Searched()
    _search_bytes(content, needles, searched)
    try:
        if bytes(content[:8]).startswith((_PARQUET, _ZIP, _ZSTD, *_COMPRESSED)):
            _search_decoded(bytes(content), needles, searched, 0)
    except (pa.ArrowException, OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zipfile.BadZipFile):
        searched.unreadable = True
    return searched


def _search_bytes(content: bytes | memoryview, needles: Needles, searched: Searched) -> None:
    searched.bytes += len(content)
    for hit in needles.find(content):
        searched.found += 1
        searched.texts[hit.text] += 1


def _search_decoded(content: bytes, needles: Needles, searched: Searched, depth: int) -> None:
    if content.startswith(_PARQUET):
        _search_columns(content, needles, searched)
        return
    if depth == _DEEPEST:
        return
    for part in _parts(content):
        _search_bytes(part, needles, searched)
        _search_decoded(part, needles, searched, depth + 1)


def _parts(content: bytes) -> Iterator[bytes]:
    """Return what a compressed file decodes to; nothing for a file that is not compressed."""
    if content.startswith(_ZIP):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.infolist():
                yield archive.read(member)
    elif content.startswith(_ZSTD):
        with pa.CompressedInputStream(pa.BufferReader(content), "zstd") as stream:
            yield bytes(stream.read())
    else:
        for magic, decompress in _COMPRESSED.items():
            if content.startswith(magic):
                yield decompress(content)


def _search_columns(content: bytes, needles: Needles, searched: Searched) -> None:
    """Search the values of a Parquet file row group by row group."""
    reader = pa.BufferReader(content)
    repeated = _repeated(pq.ParquetFile(reader))
    file = pq.ParquetFile(reader, read_dictionary=repeated)
    before = 0
    for group in range(file.num_row_groups):
        rows = file.read_row_group(group, use_threads=False)
        for column in rows.columns:
            at = before
            for chunk in column.chunks:
                _search_values(chunk, np.arange(at, at + len(chunk)), needles, searched)
                at += len(chunk)
        before += rows.num_rows


def _repeated(file: pq.ParquetFile) -> list[str]:
    """Return the columns that are stored as dictionaries alone, so that each value is searched once."""
    metadata = file.metadata
    if not metadata.num_row_groups:
        return []
    columns = [metadata.row_group(0).column(number) for number in range(metadata.num_columns)]
    plain = {"PLAIN_DICTIONARY", "RLE_DICTIONARY", "RLE", "BIT_PACKED"}
    return [
        column.path_in_schema
        for column in columns
        if column.physical_type == "BYTE_ARRAY"
        and column.has_dictionary_page
        and column.total_uncompressed_size < 2 * column.num_values  # many rows for each value
        and (set(column.encodings) - {"PLAIN"}) <= plain
    ]


def _search_values(values: pa.Array, rows: NDArray[np.int64], needles: Needles, searched: Searched) -> None:
    """Search the texts in an array of any type; `rows` holds the row of each value."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        _search_dictionary(values, rows, needles, searched)
    elif pa.types.is_struct(kind):
        for child in values.flatten():
            _search_values(child, rows, needles, searched)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_map(kind):
        offsets = np.asarray(values.offsets, dtype=np.int64)
        inner = np.repeat(rows, np.diff(offsets))
        children = [values.keys, values.items] if pa.types.is_map(kind) else [values.values]
        for child in children:
            part = child.slice(int(offsets[0]), int(offsets[-1] - offsets[0]))
            _search_values(part, inner, needles, searched)
    elif pa.types.is_string_view(kind) or pa.types.is_binary_view(kind) or pa.types.is_large_string(kind):
        _search_texts(values.cast(pa.binary()), rows, needles, searched)
    elif pa.types.is_string(kind) or pa.types.is_binary(kind):
        _search_texts(values, rows, needles, searched)


def _search_dictionary(
    values: pa.DictionaryArray, rows: NDArray[np.int64], needles: Needles, searched: Searched
) -> None:
    found = Searched()
    places = np.arange(len(values.dictionary))
    _search_values(values.dictionary, places, needles, found)
    searched.bytes += found.bytes
    if found.rows:
        of_value = values.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        hit = rows[np.isin(of_value, list(found.rows))]
        searched.found += len(hit)
        searched.rows.update(hit.tolist())
        searched.texts.update({text: len(hit) for text in found.texts})


def _search_texts(values: pa.Array, rows: NDArray[np.int64], needles: Needles, searched: Searched) -> None:
    """Search the values of an array of text, all at once, in the buffer that holds them."""
    _, offsets_buffer, data = values.buffers()
    if data is None or not len(values):
        return
    offsets = np.frombuffer(offsets_buffer, np.int32)[values.offset : values.offset + len(values) + 1]
    first, last = int(offsets[0]), int(offsets[-1])
    searched.bytes += last - first
    ends = offsets[1:].astype(np.int64) - first
    for hit in needles.find(memoryview(data)[first:last], ends):
        searched.found += 1
        searched.texts[hit.text] += 1
        searched.rows.add(int(rows[np.searchsorted(ends, hit.start, "right")]))
