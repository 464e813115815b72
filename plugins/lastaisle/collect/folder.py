"""Store calls in the landing folder; requests that arrive together share one write to the disk."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Condition, Thread

from lastaisle.collect.calls import Call
from lastaisle.collect.landing import SEGMENT, LandingFile, make_folder, probe_folder, recover
from lastaisle.settings import SettingsError, address_at
from lastaisle.web.refusal import BusyError, StorageError

log = logging.getLogger(__name__)

HOUR = 3600


@dataclass(frozen=True)
class FolderOptions:
    """The options of writing the landing folder.

    Attributes:
        file_bytes: size in bytes at which a file is published.
        file_seconds: age in seconds at which a file is published.
        early_seconds: seconds before the end of an hour at which its last file is published. The ingestion of
            an hour or a day starts at its end, and so finds all its files.
        waiting_bytes: the largest number of bytes that may wait for the disk.
    """

    file_bytes: int = 256 << 20
    file_seconds: float = 300.0
    early_seconds: float = 2.0
    waiting_bytes: int = 64 << 20


class FolderSink:
    """One thread writes all waiting calls, syncs the file, and then answers the requests of these calls.

    Args:
        address: the folder of each partition, as ingestion reads it; `address_at` fills its placeholders in.
        options: options of writing; default `FolderOptions()`.
        content: the first word of the files' names.

    Raises:
        SettingsError: the address is not a local folder.
    """

    def __init__(self, address: str, options: FolderOptions | None = None, content: str = SEGMENT) -> None:
        if "://" in address or any(sign in address for sign in "*?["):
            raise SettingsError(
                "lines are written to a local folder, where the disk can be waited for, or to a Kafka topic "
                f"(kafka://cluster/topic); received {address!r}: name another folder or topic"
            )
        self.address = address
        self.content = content
        self.options = options or FolderOptions()
        fixed, placeholder, _ = address.partition("{")
        self.root = (Path(f"{fixed}_").parent if placeholder else Path(fixed)).resolve()
        self.waiting = 0
        self._queue: list[tuple[bytes, asyncio.Future[None]]] = []
        self._changed = Condition()
        self._closing = False
        self._file: LandingFile | None = None
        self._until = 0.0  # the moment at which the file is published, in seconds since 1970
        self._left_behind = True  # whether the folder may hold unfinished files that no process writes
        self._writer = Thread(target=self._write, name="landing", daemon=True)

    def open(self) -> None:
        """Recover the files of an earlier process, and start to write.

        Raises:
            SettingsError: the folder cannot be written to.
        """
        try:
            make_folder(self.root)
            self._recover()
        except OSError as error:
            raise SettingsError(f"cannot write to the landing folder {self.root}: {error}") from error
        self._writer.start()

    async def append(self, calls: Sequence[Call]) -> None:
        """Return when the calls are on the disk.

        Raises:
            BusyError: too many bytes wait for the disk.
            StorageError: the disk refused the calls.
        """
        if not self._writer.is_alive():
            raise StorageError("the service is ending")
        data = b"".join([call.line for call in calls])
        stored = asyncio.get_running_loop().create_future()
        with self._changed:
            if self._closing or self.waiting + len(data) > self.options.waiting_bytes:
                raise BusyError(f"{self.waiting:,} bytes wait for the disk already")
            self.waiting += len(data)
            self._queue.append((data, stored))
            self._changed.notify()
        await stored

    def check(self) -> None:
        """Write a small file beside the landing files, and remove it.

        Raises:
            StorageError: the disk is full, or the folder cannot be written to.
        """
        if not self._writer.is_alive():
            raise StorageError("the service is ending")
        try:
            probe_folder(self._folder())
        except OSError as error:
            raise StorageError(f"the landing folder cannot be written to: {error.strerror}") from error

    def close(self) -> None:
        """Write the waiting calls, publish the file, and end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._writer.is_alive():
            self._writer.join()

    def _write(self) -> None:
        closing = False
        while not closing:
            with self._changed:
                while not self._queue and not self._closing and self._seconds_left() > 0:
                    self._changed.wait(min(self._seconds_left(), HOUR))
                group, self._queue = self._queue, []
                closing = self._closing
            if group:
                self._commit(group)
            if self._file and (closing or self._is_due(self._file)):
                self._publish(self._file)

    def _commit(self, group: list[tuple[bytes, asyncio.Future[None]]]) -> None:
        """Make a group of calls durable, and answer the requests that wait for it."""
        data = b"".join([data for data, _ in group])
        stored = False
        try:
            if self._file is None:
                self._file = self._begin()
            self._file.append(data)
            stored = True
        except OSError as error:
            log.error("cannot write to the landing folder %s: %s", self.root, error)
            if self._file:
                self._publish(self._file)
        finally:
            with self._changed:
                self.waiting -= len(data)
            for _, future in group:
                future.get_loop().call_soon_threadsafe(_answer, future, stored)

    def _begin(self) -> LandingFile:
        if self._left_behind:
            self._recover()
        now = time.time()
        age = self.options.file_seconds
        hour_ends = (now // HOUR + 1) * HOUR - self.options.early_seconds
        self._until = min(now + age, hour_ends) if now < hour_ends else now + age
        return LandingFile(self._folder(), datetime.now(UTC), self.content)

    def _publish(self, file: LandingFile) -> None:
        """Publish a file; if that fails, it keeps its unfinished name and is recovered with the next file."""
        self._file = None
        try:
            file.publish(self._folder())
        except OSError as error:
            self._left_behind = True
            log.error(
                "cannot publish %s, its calls will be published with a later file: %s", file.path, error
            )

    def _recover(self) -> None:
        recover(self.root, self._folder(), self.content)
        self._left_behind = False

    def _folder(self) -> Path:
        return Path(address_at(self.address, datetime.now(UTC))).resolve()

    def _seconds_left(self) -> float:
        return self._until - time.time() if self._file else HOUR

    def _is_due(self, file: LandingFile) -> bool:
        return file.size >= self.options.file_bytes or self._seconds_left() <= 0


def _answer(future: asyncio.Future[None], stored: bool) -> None:
    if future.cancelled():
        return
    if stored:
        future.set_result(None)
    else:
        refused = "the lines cannot be written to the landing folder; the log of the service says why"
        future.set_exception(StorageError(refused))
