"""The write keys that may send, and the quota of each."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lastaisle.web.keys import Keys
from lastaisle.web.refusal import QuotaError


@dataclass
class _Allowance:
    """The events that a key may still send: it grows with time, up to the quota of one minute."""

    events: float
    at: float


class WriteKeys(Keys):
    """The known write keys.

    In the file, a key that has a quota of its own is followed by its events a minute.

    Args:
        listed: keys that are always valid.
        file: the file of more keys; None if there is none.
        quota: the events a minute of a key without a quota of its own; 0 is no quota.

    Raises:
        SettingsError: the file cannot be read.
    """

    name = "write keys"

    def __init__(self, listed: Sequence[str] = (), file: Path | None = None, quota: int = 0) -> None:
        self._quota = quota
        self._allowances: dict[str, _Allowance] = {}
        super().__init__(listed, file)

    def spend(self, key: str, events: int) -> None:
        """Count events of a known key against its quota.

        A request that begins within the quota is taken whole, so that a large batch can be sent at all; the
        key then waits for longer.

        Raises:
            QuotaError: the key has no events left; the error says when to try again.
        """
        quota = self._known.get(key, self._quota)
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

    def _number(self, words: Sequence[str]) -> int:
        if len(words) > 1 or (words and not (words[0].isascii() and words[0].isdigit())):
            raise ValueError("a key, or a key and its events a minute")
        return int(words[0]) if words else self._quota

    def _read(self, file: Path) -> dict[str, int]:
        quotas = super()._read(file)
        self._allowances = {key: left for key, left in self._allowances.items() if key in quotas}
        return quotas
