"""Files of the landing folder: each line in them is durable, and ingestion sees only finished files."""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from uuid import uuid4

log = logging.getLogger(__name__)

PROBE_BYTES = 64 << 10
SEGMENT = "segment"  # the content of the collector's files
UNFINISHED = ".inprogress"  # lastaisle.ingest.reading.file_names passes over names that end so


class LandingFile:
    """A file that one process writes, under a name that ingestion passes over until the file is published.

    The process locks the file as long as it lives, so that the recovery of another process does not touch it.

    Args:
        folder: folder of the file; made if it is missing.
        now: the present moment in UTC, for the file's name.
        content: the first word of the file's name.

    Raises:
        OSError: the file cannot be made.
    """

    def __init__(self, folder: Path, now: datetime, content: str = SEGMENT) -> None:
        make_folder(folder)
        while True:
            self.path = folder / f"{content}-{now:%Y%m%dT%H%M%SZ}-{uuid4().hex}.jsonl{UNFINISHED}"
            self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o640)
            if _lock(self._fd) and os.fstat(self._fd).st_nlink:
                break
            os.close(self._fd)  # the recovery of another process took the empty file before the lock
        self.size = 0
        sync_folder(folder)

    def append(self, data: bytes) -> None:
        """Write complete lines, and return when they are on the disk.

        Raises:
            OSError: the lines are not on the disk; nothing more may be appended to the file.
        """
        unwritten = memoryview(data)
        while unwritten:
            unwritten = unwritten[os.write(self._fd, unwritten) :]
        os.fdatasync(self._fd)
        self.size += len(data)

    def publish(self, folder: Path) -> Path | None:
        """Give the file its final name, with only the durable lines, and close it.

        Args:
            folder: folder of the partition that gets the file.

        Returns:
            The path of the file; None if the file was empty and was removed.

        Raises:
            OSError: the file keeps its unfinished name, for recovery.
        """
        try:
            return _publish(self.path, self._fd, self.size, folder)
        finally:
            os.close(self._fd)


def recover(root: Path, folder: Path, content: str = SEGMENT) -> list[Path]:
    """Publish the files that a killed process left.

    A torn last line was never acknowledged, and is removed.

    Args:
        root: folder whose files and subfolders are searched.
        folder: folder of the partition that gets the files. It is the present partition, since the run of the
            partition that the files were meant for may be over.
        content: the first word of the files' names.

    Returns:
        The published files.

    Raises:
        OSError: the files cannot be read or written.
    """
    published = []
    for path in sorted(root.rglob(f"{content}-*.jsonl{UNFINISHED}")):
        with _abandoned(path) as fd:
            if fd is not None and (target := _publish(path, fd, _end_of_lines(fd), folder)):
                log.warning("recovered %s, which a killed process left unfinished", target)
                published.append(target)
    return published


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, so that they survive a power cut."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def probe_folder(folder: Path) -> None:
    """Write a file to a folder and to its disk, and remove it.

    Args:
        folder: the folder; if it is missing, it stays so, and the folder is probed that it would be made in.

    Raises:
        OSError: the folder cannot be written to, or its disk is full.
    """
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    path = existing / f"health-{uuid4().hex}{UNFINISHED}"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        unwritten = memoryview(bytes(PROBE_BYTES))
        while unwritten:
            unwritten = unwritten[os.write(fd, unwritten) :]
        os.fdatasync(fd)
    finally:
        os.close(fd)
        path.unlink()


def sync_folder(folder: Path) -> None:
    """Write the names in a folder to the disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _publish(path: Path, fd: int, size: int, folder: Path) -> Path | None:
    if size == 0:
        path.unlink()
        return None
    if os.fstat(fd).st_size != size:
        os.ftruncate(fd, size)
    os.fsync(fd)
    make_folder(folder)
    target = folder / path.name.removesuffix(UNFINISHED)
    path.rename(target)
    sync_folder(folder)
    if folder != path.parent:
        sync_folder(path.parent)
    return target


@contextmanager
def _abandoned(path: Path) -> Iterator[int | None]:
    """Open and lock an unfinished file; yield None if its process lives or has just published it."""
    fd = -1
    with suppress(FileNotFoundError):
        fd = os.open(path, os.O_RDWR)
    if fd < 0:
        yield None
        return
    try:
        yield fd if _lock(fd) and path.exists() else None
    finally:
        os.close(fd)


def _lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _end_of_lines(fd: int) -> int:
    if os.fstat(fd).st_size == 0:
        return 0
    with mmap.mmap(fd, 0, access=mmap.ACCESS_READ) as content:
        return content.rfind(b"\n") + 1
