"""Packed files are read as far as they can be trusted; files that hold no lines are refused by name."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import sqlite3
import tarfile
import zipfile
from pathlib import Path

import fastavro
import pyarrow as pa
import pyarrow.feather
import pyarrow.orc
import pyarrow.parquet
import pytest
from backports import zstd

from lastaisle.ingest.reading.containers import CHUNK_BYTES, open_content

EVENT = {"event_type": "item_viewed", "occurred_at": "2025-10-09T12:00:00Z", "session_id": "s"}


def zstandard(data: bytes) -> bytes:
    """Pack as the command zstd does: with a check sum."""
    return zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1})


PACKERS = {"gz": gzip.compress, "bz2": bz2.compress, "zst": zstandard, "xz": lzma.compress}


def lines(count: int) -> bytes:
    """Return events whose ids do not repeat, so that packed data is long."""
    events = ({**EVENT, "event_id": os.urandom(9).hex(), "item_id": f"i{number}"} for number in range(count))
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda pack: pack(lines(40)), id="one member"),
        pytest.param(lambda pack: pack(lines(15)) + pack(b"") + pack(lines(25)), id="members"),
        pytest.param(lambda pack: pack(lines(40)) + bytes(512), id="zeros after it"),
        pytest.param(lambda pack: pack(lines(20)) + bytes(8) + pack(lines(20)), id="zeros between"),
        pytest.param(lambda pack: pack(pack(lines(40))), id="twice"),
        pytest.param(lambda pack: gzip.compress(pack(bz2.compress(lines(40)))), id="three times"),
    ],
)
def test_packed_files_are_read_whatever_their_name_says(shop, packer, change):
    report = shop.ingest(shop.write(change(PACKERS[packer]), "log.jsonl"))
    assert (report.rows_in, report.rows_clean, report.rows_quarantined) == (40, 40, 0)
    assert len(shop.rows("events")) == 40


def test_a_frame_of_zstd_that_readers_skip_is_skipped(shop):
    skipped = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc"
    assert shop.ingest(shop.write(skipped + zstd.compress(lines(3)))).rows_clean == 3


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("outer", [lambda packed: packed, gzip.compress])
def test_a_cut_file_keeps_the_rows_before_the_cut(shop, packer, outer):
    packed = PACKERS[packer](lines(30_000))
    report = shop.ingest(shop.write(outer(packed[: len(packed) * 2 // 3])))
    assert report.quarantined_by_rule == {"file_truncated": 1}
    assert 100 < report.rows_clean < 30_000


@pytest.mark.parametrize("packer", PACKERS)
def test_a_damaged_file_is_not_trusted_at_all(shop, packer):
    packed = bytearray(PACKERS[packer](lines(500)))
    packed[len(packed) // 2] ^= 0xFF
    bad = shop.write(bytes(packed), "a.jsonl")
    shop.write(lines(2), "b.jsonl")
    report = shop.ingest(str(shop.folder / "*.jsonl"))
    assert (report.files, report.rows_in, report.rows_clean) == (1, 2, 2)
    assert "data is damaged" in report.files_failed[bad]


@pytest.mark.parametrize("packer", PACKERS)
def test_what_follows_a_packed_file_is_not_ignored(shop, packer):
    bad = shop.write(PACKERS[packer](lines(5)) + b"plain text after it\n")
    assert "data is damaged" in shop.ingest(bad).files_failed[bad]


@pytest.mark.parametrize("packer", PACKERS)
def test_a_bomb_is_unpacked_in_small_parts(packer):
    packed = PACKERS[packer](bytes(64 << 20))
    sizes = [len(chunk) for chunk in open_content(io.BytesIO(packed))]
    assert sum(sizes) == 64 << 20
    assert max(sizes) <= CHUNK_BYTES


def zipped() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("log.jsonl", lines(2))
    return packed.getvalue()


def tarred(form: int) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=form) as archive:
        member = tarfile.TarInfo("log.jsonl")
        member.size = len(lines(2))
        archive.addfile(member, io.BytesIO(lines(2)))
    return packed.getvalue()


def old_tar() -> bytes:
    """A header of tar as it was before POSIX: without the word ustar."""
    header = bytearray(512)
    header[:9] = b"log.jsonl"
    header[124:136] = b"00000000000\x00"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\x00 " % sum(header)
    return bytes(header) + bytes(1024)


def avro() -> bytes:
    out = io.BytesIO()
    schema = {"type": "record", "name": "e", "fields": [{"name": "a", "type": "string"}]}
    fastavro.writer(out, schema, [{"a": "x"}])
    return out.getvalue()


def of_arrow(write) -> bytes:
    out = io.BytesIO()
    write(pa.table({"a": ["x"] * 50}), out)
    return out.getvalue()


def sqlite(tmp_path: Path) -> bytes:
    with sqlite3.connect(tmp_path / "x.db") as connection:
        connection.execute("CREATE TABLE t (a)")
    return (tmp_path / "x.db").read_bytes()


ARRAY = json.dumps([EVENT, EVENT]).encode()
KINDS = {
    "zip": (lambda _: zipped(), "is a zip archive"),
    "tar": (lambda _: tarred(tarfile.USTAR_FORMAT), "is a tar archive: unpack it"),
    "pax": (lambda _: tarred(tarfile.PAX_FORMAT), "is a tar archive"),
    "old tar": (lambda _: old_tar(), "is a tar archive"),
    "tar.gz": (
        lambda _: gzip.compress(tarred(tarfile.GNU_FORMAT)),
        "is a tar archive: unpack it (inside gzip)",
    ),
    "tar.zst": (
        lambda _: zstd.compress(tarred(tarfile.GNU_FORMAT)),
        "is a tar archive: unpack it (inside zstd)",
    ),
    "7z": (lambda _: b"7z\xbc\xaf\x27\x1c\x00\x04", "is a 7z archive"),
    "rar": (lambda _: b"Rar!\x1a\x07\x01\x00", "is a RAR archive"),
    "xls": (lambda _: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500), "is an old Office file"),
    "pdf": (lambda _: b"%PDF-1.7\n%\xe2\xe3\n", "is a PDF document"),
    "avro": (lambda _: avro(), "is an Avro file"),
    "orc": (lambda _: of_arrow(pa.orc.write_table), "is an ORC file"),
    "feather": (lambda _: of_arrow(pa.feather.write_feather), "is an Arrow file"),
    "sqlite": (sqlite, "is an SQLite database"),
    "lz4": (lambda _: pa.compress(b"x" * 99, "lz4", asbytes=True), "is lz4 data"),
    "snappy": (lambda _: b"\xff\x06\x00\x00sNaPpY\x01", "is snappy data"),
    "four times": (
        lambda _: gzip.compress(gzip.compress(gzip.compress(gzip.compress(b"x")))),
        "more than 3 times",
    ),
    "parquet.gz": (
        lambda _: gzip.compress(of_arrow(pa.parquet.write_table)),
        "is a Parquet file inside gzip",
    ),
    "html": (lambda _: b"<!DOCTYPE html>\n<html>Access denied</html>", "is an HTML or XML document"),
    "xml": (lambda _: b'<?xml version="1.0"?>\n<Error>NoSuchKey</Error>', "is an HTML or XML document"),
    "array": (lambda _: ARRAY, "is one JSON array: write one object a line"),
    "array over lines": (lambda _: json.dumps([EVENT, EVENT], indent=2).encode(), "is one JSON array"),
    "array, an object a line": (lambda _: ARRAY.replace(b"}, {", b"},\n{"), "is one JSON array"),
    "array after a mark": (lambda _: b"\xef\xbb\xbf \n" + ARRAY + b"\n", "is one JSON array"),
    "UTF-16": (lambda _: lines(2).decode().encode("utf-16"), "is UTF-16 text: convert it"),
    "UTF-16LE": (
        lambda _: lines(2).decode().encode("utf-16-le"),
        "is UTF-16LE text: convert it (iconv -f UTF-16LE",
    ),
    "UTF-16BE": (lambda _: lines(2).decode().encode("utf-16-be"), "is UTF-16BE text"),
    "UTF-32": (lambda _: lines(2).decode().encode("utf-32"), "is UTF-32 text"),
    "UTF-32BE": (lambda _: lines(2).decode().encode("utf-32-be"), "is UTF-32BE text"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_holds_no_lines_is_refused_by_name_and_the_others_are_taken_in(shop, tmp_path, kind):
    make, message = KINDS[kind]
    bad = shop.write(make(tmp_path), "a.log")
    shop.write(lines(2), "b.log")
    report = shop.ingest(str(shop.folder / "*.log"))
    assert list(report.files_failed) == [bad]
    assert message in report.files_failed[bad]
    assert (report.rows_in, report.rows_clean) == (2, 2)
    assert len(shop.rows("raw_events")) == 2


@pytest.mark.parametrize(
    "start", [b"ORCID,view,1\n", b"PK,1\n", b"BZh is no magic\n", b"[1, 2]\n", b"[]\n", b'[{"a": 1}]\n']
)
def test_lines_that_only_begin_like_another_kind_stay_lines(shop, start):
    report = shop.ingest(shop.write(start + lines(2)))
    assert (report.rows_clean, report.rows_quarantined, report.files_failed) == (2, 1, {})
