"""Files of the landing folder: each line in them is durable, and only whole files are seen by ingestion."""

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

UNFINISHED = ".inprogress"  # lastaisle.ingest.files passes over names that end so


class LandingFile:
    """A file that only its maker writes, under a name that ingestion passes over until it is published.

    It is locked as long as its maker lives, so that recovery by another process leaves it alone.

    Args:
        folder: where to write it; made if it is missing.
        now: for its name, in UTC.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, folder: Path, now: datetime) -> None:
        make_folder(folder)
        while True:
            self.path = folder / f"segment-{now:%Y%m%dT%H%M%SZ}-{uuid4().hex}.jsonl{UNFINISHED}"
            self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o640)
            if _lock(self._fd) and os.fstat(self._fd).st_nlink:
                break
            os.close(self._fd)  # a recovery took the empty file between these two lines
        self.size = 0
        sync_folder(folder)

    def append(self, data: bytes) -> None:
        """Write whole lines, and return when they are on the disk.

        Raises:
            OSError: they are not; the file must not be appended to any more.
        """
        left = memoryview(data)
        while left:
            left = left[os.write(self._fd, left) :]
        os.fdatasync(self._fd)
        self.size += len(data)

    def publish(self, folder: Path) -> Path | None:
        """Give the file its final name, with the durable lines and nothing more; close it.

        Args:
            folder: of the partition that it becomes part of.

        Returns:
            Its path; None where it was empty, and is gone.

        Raises:
            OSError: it keeps its unfinished name, for recovery.
        """
        try:
            return _publish(self.path, self._fd, self.size, folder)
        finally:
            os.close(self._fd)


def recover(root: Path, folder: Path) -> list[Path]:
    """Publish the files that a killed collector left; a torn last line was never acknowledged and is removed.

    Args:
        root: below which to look.
        folder: of the partition that the files become part of: the present one, since the run of the one
            that they were meant for may be over.

    Returns:
        The published files.

    Raises:
        OSError: the files cannot be read or written.
    """
    published = []
    for path in sorted(root.rglob(f"segment-*.jsonl{UNFINISHED}")):
        with _abandoned(path) as fd:
            if fd is not None and (done := _publish(path, fd, _end_of_lines(fd), folder)):
                log.warning("recovered %s, which a collector left unfinished", done)
                published.append(done)
    return published


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, so that they outlast a power cut."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Return when the names in a folder are on the disk."""
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
    """Open and lock an unfinished file; None where its maker lives, or has just published it."""
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
