"""The write keys that may send, and the quota of each; a file of keys is read again when it changes."""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lastaisle.settings import SettingsError
from lastaisle.web.refusal import QuotaError

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 1.0


@dataclass
class _Allowance:
    """The events that a key may still send: it grows with time, up to the quota of one minute."""

    events: float
    at: float


class WriteKeys:
    """The known write keys.

    The file has one key in each line, and after the key, if it has a quota of its own, its events a minute.
    Lines that begin with # are comments. The file is looked at once a second: a key that is gone from it is
    refused from then on. While the file cannot be read, its last keys stay valid, and `find_problem` says so.

    Args:
        listed: keys that are always valid.
        file: the file of more keys; None if there is none.
        quota: the events a minute of a key without a quota of its own; 0 is no quota.

    Raises:
        SettingsError: the file cannot be read.
    """

    def __init__(self, listed: Sequence[str] = (), file: Path | None = None, quota: int = 0) -> None:
        self._problem = ""
        self._quota = quota
        self._listed = dict.fromkeys(listed, quota)
        self._file = file
        self._quotas: Mapping[str, int] = self._listed
        self._allowances: dict[str, _Allowance] = {}
        self._looked = time.monotonic()
        self._seen: object = None
        if file:
            self._seen = self._state(file)
            try:
                self._quotas = self._read(file)
            except (OSError, ValueError) as error:
                raise SettingsError(f"cannot read the file of write keys {file}: {error}") from error

    def has_any(self) -> bool:
        """Return whether there are or may be keys."""
        return bool(self._file or self._listed)

    def knows(self, key: str) -> bool:
        """Return whether a key is valid now; the comparison takes the same time for right and wrong keys."""
        self._look()
        given = key.encode("utf-8", "surrogatepass")
        return sum(hmac.compare_digest(given, known.encode()) for known in self._quotas) > 0

    def find_problem(self) -> str:
        """Return what is wrong with the file; empty if nothing is."""
        self._look()
        return self._problem

    def spend(self, key: str, events: int) -> None:
        """Count events of a known key against its quota.

        A request that begins within the quota is taken whole, so that a large batch can be sent at all; the
        key then waits for longer.

        Raises:
            QuotaError: the key has no events left; the error says when to try again.
        """
        quota = self._quotas.get(key, self._quota)
        if not quota:
            return
        now = time.monotonic()
        left = self._allowances.setdefault(key, _Allowance(quota, now))
        left.events = min(quota, left.events + (now - left.at) * quota / 60)
        left.at = now
        if left.events < min(1, events):
            seconds = int((1 - left.events) * 60 / quota) + 1
            raise QuotaError(f"this write key may send {quota:,} events a minute", seconds)
        left.events -= events

    def _look(self) -> None:
        """Read the file again if it changed."""
        now = time.monotonic()
        if self._file is None or now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        state = self._state(self._file)
        if state == self._seen:
            return
        self._seen = state
        try:
            self._quotas = self._read(self._file)
        except (OSError, ValueError) as error:
            self._problem = "the file of write keys cannot be read; its last keys stay valid"
            log.error(
                "cannot read the file of write keys %s: %s; its last keys stay valid", self._file, error
            )
            return
        self._problem = ""
        self._allowances = {key: left for key, left in self._allowances.items() if key in self._quotas}
        log.warning("read %s again: %d write keys are valid", self._file, len(self._quotas))

    def _read(self, file: Path) -> dict[str, int]:
        quotas = {}
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            if len(words) > 2 or (len(words) == 2 and not (words[1].isascii() and words[1].isdigit())):
                raise ValueError(f"line {number} should be a key, or a key and its events a minute")
            quotas[words[0]] = int(words[1]) if len(words) == 2 else self._quota
        return {**self._listed, **quotas}

    @staticmethod
    def _state(file: Path) -> object:
        try:
            found = file.stat()
        except OSError as error:
            return error.errno
        return (found.st_mtime_ns, found.st_size, found.st_ino)
