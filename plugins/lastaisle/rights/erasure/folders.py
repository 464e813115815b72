"""Folders on this machine: lines that name a shopper are blanked, caches deleted, other files searched."""

from __future__ import annotations

import errno
import gzip
import mmap
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from lastaisle.lake.whole_file import whole_file
from lastaisle.rights.erasure.model import PlaceReport
from lastaisle.rights.erasure.needles import Needles
from lastaisle.rights.erasure.scan import search
from lastaisle.settings import Settings

#: Folders of the home that hold lines: logs that arrive, feedback of the service, logs of programs.
LINES: Final = ("landing", "feedback", "collector", "logs", "lineage")
#: Airflow keeps the logs of tasks in a folder of this name, in its own folder of the home.
_LOGS: Final = "logs"
#: Folders of the home whose files are made again when they are missing.
CACHES: Final = ("dashboard",)
_LINE_FILES: Final = (".jsonl", ".json", ".ndjson", ".log", ".csv", ".tsv", ".txt", ".out", ".err")
#: A file of this name is being written by another process (lastaisle.collect.landing.UNFINISHED).
_UNFINISHED: Final = ".inprogress"
_MAPPED_BYTES: Final = 64 << 20


@dataclass(frozen=True)
class Folder:
    """A folder that is searched.

    Attributes:
        name: how the report names it.
        path: where it lies.
        holds: lines (they are blanked), cache (files are deleted), or other (it is only searched).
    """

    name: str
    path: Path
    holds: str = "other"


def folders_of_home(home: Path, skipped: Sequence[Path]) -> list[Folder]:
    """Return the folders of a home that are searched, and the files that lie in it directly."""
    found = []
    for path in sorted(home.iterdir()) if home.is_dir() else ():
        if not any(path == skip or path.is_relative_to(skip) for skip in skipped):
            holds = "lines" if path.name in LINES else "cache" if path.name in CACHES else "other"
            found.append(Folder(f"home/{path.name}", path, holds))
    return found


def artifacts_of(settings: Settings) -> Path | None:
    """Return the folder of MLflow's artifacts on this machine; None if they lie elsewhere."""
    place = settings.registry.mlflow_artifacts
    local = settings.home / "mlflow" / "artifacts" if ":" in place.partition("/")[0] else Path(place)
    return local if local.is_dir() else None


@dataclass(frozen=True)
class Asked:
    """What is erased from folders.

    Attributes:
        needles: the ids and pseudonyms.
        names: tells whether a line of JSON names a shopper by a short id.
        dry_run: change nothing.
    """

    needles: Needles
    names: Callable[[str], bool]
    dry_run: bool


def erase_in_folder(folder: Folder, asked: Asked, skipped: Sequence[Path] = ()) -> PlaceReport:
    """Erase what names a shopper in the files of a folder, and search every byte of them.

    Args:
        folder: the folder, or a single file.
        asked: what is erased.
        skipped: folders that are not searched.
    """
    report = PlaceReport(folder.name, "folder")
    for path in _files(folder.path, skipped):
        try:
            report = _erase_in_file(path, folder, asked, report)
        except FileNotFoundError:  # another process deleted it meanwhile
            continue
        except PermissionError:
            unsearched = f"{path.name} may not be read by this user"
            report = replace(report, unsearched=report.unsearched or unsearched)
    return report


def _erase_in_file(path: Path, folder: Folder, asked: Asked, report: PlaceReport) -> PlaceReport:
    is_finished = not path.name.endswith(_UNFINISHED)
    if _holds_lines(path, folder) and is_finished:
        try:
            lines = _blank_lines(path, asked)
        except OSError as error:
            read_only = error.errno in (errno.EROFS, errno.EACCES, errno.EPERM)
            if not (read_only and os.access(path, os.R_OK)):
                raise
            unsearched = "lines that name a shopper lie in files that may only be read here"
            return replace(report, unsearched=report.unsearched or unsearched)
        report = replace(
            report, rows=report.rows + lines, files_rewritten=report.files_rewritten + bool(lines)
        )
    with _content(path) as content:
        searched = search(content, asked.needles)
    if searched.found and folder.holds == "cache" and not asked.dry_run:
        path.unlink(missing_ok=True)
        return replace(report, files_deleted=report.files_deleted + 1)
    waits = bool(searched.found) and not is_finished
    return replace(
        report,
        files_scanned=report.files_scanned + 1,
        bytes_scanned=report.bytes_scanned + searched.bytes,
        found=report.found + (0 if waits else searched.found),
        waiting=report.waiting + waits,
        unreadable=report.unreadable + searched.unreadable,
    )


def _holds_lines(path: Path, folder: Folder) -> bool:
    within = path.relative_to(folder.path).parts[:-1]
    return (folder.holds == "lines" or _LOGS in within) and path.suffix in (*_LINE_FILES, ".gz")


def _files(folder: Path, skipped: Sequence[Path]) -> Iterator[Path]:
    if folder.is_file():
        yield folder
        return
    for place, inner, names in os.walk(folder):
        inner[:] = sorted(name for name in inner if Path(place, name) not in skipped)
        for name in sorted(names):
            path = Path(place, name)
            if path.is_file() and not path.is_symlink():
                yield path


@contextmanager
def _content(path: Path) -> Iterator[bytes | memoryview]:
    """Yield the bytes of a file; a large file is mapped and not read into memory."""
    if path.stat().st_size < _MAPPED_BYTES:
        yield path.read_bytes()
        return
    with (
        path.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as view,
    ):
        yield view


def _blank_lines(path: Path, asked: Asked) -> int:
    """Blank the lines of a file that name a shopper; return how many.

    The lines become blanks in place. So a process that appends to the file loses nothing, and the file keeps
    its size. A compressed file is written again as a whole.
    """
    packed = path.suffix == ".gz"
    try:
        content = gzip.decompress(path.read_bytes()) if packed else path.read_bytes()
    except (OSError, EOFError):
        if packed:  # it is searched as it is, and counted as unreadable
            return 0
        raise
    lines = sorted(_lines_of(content, asked))
    if asked.dry_run or not lines:
        return len(lines)
    if packed:
        blanked = bytearray(content)
        for start, end in lines:
            blanked[start:end] = b" " * (end - start)
        with whole_file(path) as unfinished:
            unfinished.write_bytes(gzip.compress(bytes(blanked)))
        return len(lines)
    handle = os.open(path, os.O_WRONLY)
    try:
        for start, end in lines:
            os.pwrite(handle, b" " * (end - start), start)
        os.fsync(handle)
    finally:
        os.close(handle)
    return len(lines)


def _lines_of(content: bytes, asked: Asked) -> set[tuple[int, int]]:
    """Return the first and the last byte of each line that names a shopper."""
    found = set()
    for hit in asked.needles.find(content):
        start = content.rfind(b"\n", 0, hit.start) + 1
        end = content.find(b"\n", hit.end)
        found.add((start, len(content) if end < 0 else end))
    start = 0
    for line in content.split(b"\n"):
        if line[:1] == b"{":
            with suppress(UnicodeDecodeError):
                if asked.names(line.decode()):
                    found.add((start, start + len(line)))
        start += len(line) + 1
    return found
