"""Refuse a signed request of Segment's webhook that is sent again later.

Segment signs the body alone, without a time of sending, so that a recorded request stays signed for ever. The
body holds the time at which Segment received each call, `receivedAt`. A body that is too old is refused. Any
other body is taken once: its digest is kept in a small database, also through a restart.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from lastaisle.settings import SettingsError
from lastaisle.web.refusal import RefusedError, StorageError

_PRUNE_SECONDS: Final = 600.0


class Replays:
    """The signed bodies that were taken.

    Args:
        file: the database; it and its folder are made.
        window: how old a body may be when it is taken.

    Raises:
        SettingsError: the database cannot be opened.
    """

    def __init__(self, file: Path, window: timedelta) -> None:
        self.window = window
        self._pruned = 0.0
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(file, timeout=5, isolation_level=None, check_same_thread=False)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS taken (digest BLOB PRIMARY KEY, until REAL) WITHOUT ROWID"
            )
        except (OSError, sqlite3.Error) as error:
            raise SettingsError(f"cannot keep the webhook's taken requests in {file}: {error}") from error

    def take(self, body: bytes, sent: datetime | None, now: datetime) -> None:
        """Note a body as taken.

        Args:
            body: the signed body.
            sent: when Segment received the oldest call of the body; None if the body does not say so. Such a
                body is remembered for ever, because it never becomes too old.
            now: the present moment.

        Raises:
            RefusedError: 409, the body is too old or was taken before.
            StorageError: the database cannot be written to.
        """
        if sent is not None and sent < now - self.window:
            raise RefusedError(
                409, "replayed", f"the oldest call was received at {sent.isoformat()}, too long ago"
            )
        until = (max(sent, now) + self.window).timestamp() if sent is not None else None
        try:
            self._prune(now)
            added = self._database.execute(
                "INSERT OR IGNORE INTO taken VALUES (?, ?)", (_digest(body), until)
            ).rowcount
        except sqlite3.Error as error:
            raise StorageError(f"the webhook's taken requests cannot be kept: {error}") from error
        if not added:
            raise RefusedError(409, "replayed", "this request was taken before")

    def give_back(self, body: bytes) -> None:
        """Forget a body whose calls could not be stored, so that Segment may send it again."""
        try:
            self._database.execute("DELETE FROM taken WHERE digest = ?", (_digest(body),))
        except sqlite3.Error as error:
            raise StorageError(f"the webhook's taken requests cannot be kept: {error}") from error

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def _prune(self, now: datetime) -> None:
        if time.monotonic() - self._pruned > _PRUNE_SECONDS:
            self._database.execute("DELETE FROM taken WHERE until < ?", (now.timestamp(),))
            self._pruned = time.monotonic()


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()
