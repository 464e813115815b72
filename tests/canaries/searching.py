"""Find planted values in bytes, files and databases, as text, encoded or digested."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import re
import sqlite3
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from .planting import MARKERS, Plant

_HEX = re.compile(rb"(?<![0-9a-f])[0-9a-f]{32,64}(?![0-9a-f])")
#: A regular expression that begins with a repetition would take a time that grows with the square of a run.
REACH = 300
_BASE64 = re.compile(rb"[A-Za-z0-9+/_=-]+")
_BASE64_END = re.compile(rb"[A-Za-z0-9+/_=-]+\Z")
_FRACTION = re.compile(rb"\d\.\d*\Z")
"""What stands before digits that are a part of a decimal fraction, and so by chance look like a marker."""
_DIGESTS = ("md5", "sha1", "sha256")


class Search:
    """Searches for the values of some plants.

    Args:
        plants: what was planted.
    """

    def __init__(self, plants: Iterable[Plant]) -> None:
        self.plants = {plant.value: plant for plant in plants}
        self._digests = {
            hashlib.new(kind, value.encode()).hexdigest().encode(): value
            for value in self.plants
            for kind in _DIGESTS
        }
        bases = sorted(
            {re.escape(part) for marker in MARKERS for part in (marker, marker.replace(":", "%3a"))}
        )
        encoded = sorted({re.escape(part) for marker in MARKERS for part in _base64_of(marker)})
        self._marked = re.compile(f"(?:{'|'.join(bases)})[0-9a-z:%@.]*".encode(), re.IGNORECASE)
        self._encoded = re.compile("|".join(encoded).encode())
        self._by_core = {_core(value): value for value in self.plants}

    def places(self, content: bytes) -> set[str]:
        """Return the places of the plants that some bytes hold."""
        found = {self._digests[run] for run in _HEX.findall(content) if run in self._digests}
        texts = [
            content,
            *(_decoded(_run_around(content, one.start())) for one in self._encoded.finditer(content)),
        ]
        for text in texts:
            for run in self._marked.finditer(text):
                core = _core(run[0].decode("ascii", "replace"))
                value = self._value_of(core)
                if value is not None:
                    found.add(value)
                elif not _FRACTION.search(text[max(0, run.start() - 20) : run.start()]):
                    found.add(f"? {core}")
        return {self.plants[value].place if value in self.plants else value for value in found}

    def _value_of(self, core: str) -> str | None:
        """Return the value that a run of text begins with, or of which the run is the begin.

        The statistics of a table cut texts; of the greatest text they raise the last character by one.
        """
        for length in range(len(core), 5, -1):
            if value := self._by_core.get(core[:length]):
                return value
        begins = (core, core[:-1] + chr(ord(core[-1]) - 1)) if len(core) > 9 else ()
        cut = [value for known, value in self._by_core.items() if known.startswith(begins)]
        return cut[0] if len(cut) == 1 else None

    def in_folder(self, folder: Path, leave_out: Iterable[Path] = ()) -> dict[str, set[str]]:
        """Return the files below a folder that hold plants, with the places of the plants."""
        left_out = tuple(leave_out)
        found = {}
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not any(path.is_relative_to(other) for other in left_out):
                places = self.places(str(path.relative_to(folder)).encode())
                for content in contents_of(path):
                    places |= self.places(content)
                if places:
                    found[str(path.relative_to(folder))] = places
        return found


def contents_of(path: Path) -> Iterator[bytes]:
    """Return the bytes of a file, and what they hold when they are decompressed or decoded."""
    content = path.read_bytes()
    if content[:4] == b"PAR1":  # its compressed pages show values cut and joined, so they are decoded alone
        yield content[-8 - int.from_bytes(content[-8:-4], "little") :]
        yield _parquet(content)
        return
    if content.startswith(b"lastaisle-dashboard"):  # figures, in compressed pages, too
        yield from _figures(content)
        return
    yield content
    if content[:16] == b"SQLite format 3\0":
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
            yield "\n".join(database.iterdump()).encode()
    elif content[:2] == b"\x1f\x8b":
        yield gzip.decompress(content)
    elif content[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                yield archive.read(name)


def _parquet(content: bytes) -> bytes:
    """Return all texts of a Parquet file, those inside lists and structures too."""
    return str(pq.read_table(pa.BufferReader(content)).to_pylist()).encode()


def _figures(content: bytes) -> Iterator[bytes]:
    """Return the lines of JSON with which a file of figures begins, and all texts of its tables, if any."""
    head, note, *more = content.split(b"\n", 2)
    yield head + note
    tables = b"".join(more)
    reader = pa.BufferReader(tables)
    while reader.tell() < len(tables):
        yield str(pa.ipc.open_stream(reader).read_all().to_pylist()).encode()


def _core(value: str) -> str:
    """Return what names a plant, in whatever spelling its value stands."""
    return re.sub(
        r"[^0-9a-z:]", "", value.lower().replace("%3a", ":").split("@")[0].split("%40")[0].split(" ")[0]
    )


def _run_around(content: bytes, place: int) -> bytes:
    """Return the run of base64 around a place, of at most REACH characters on each side."""
    before = _BASE64_END.search(content[max(0, place - REACH) : place])
    after = _BASE64.match(content, place, place + REACH)
    return (before[0] if before else b"") + (after[0] if after else b"")


def _decoded(run: bytes) -> bytes:
    """Return the bytes of a run of base64, for each of the places where it may begin."""
    shown = b""
    for start in range(4):
        part = run[start:].rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
        part = part[: len(part) - (len(part) % 4 == 1)]
        shown += base64.b64decode(part + b"=" * (-len(part) % 4)) + b" "
    return shown


def _base64_of(marker: str) -> Iterator[str]:
    """Return what stays of a marker in base64, for each of the three places where it may begin."""
    for before in range(3):
        text = base64.b64encode(b"\0" * before + marker.encode()).decode().rstrip("=")
        first = {0: 0, 1: 2, 2: 3}[before]
        last = len(text) if (before + len(marker)) % 3 == 0 else len(text) - 1
        yield text[first:last]
