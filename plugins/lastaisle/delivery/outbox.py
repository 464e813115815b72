"""The table `announcements`: what became of each message at each receiver."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit

import pyarrow as pa

from lastaisle.delivery.sent import Sent
from lastaisle.lake.tables import ANNOUNCEMENTS, ANNOUNCEMENTS_SCHEMA

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake

STARTED, SENT, FAILED, GIVEN_UP = "started", "sent", "failed", "given_up"
_FIRST_WAIT: Final = timedelta(seconds=15)  # less than the pause before Airflow tries a task again
_LONGEST_WAIT: Final = timedelta(hours=6)
_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Sendable(Protocol):
    """A message that can be sent and noted."""

    @property
    def id(self) -> str:
        """The name of the message, the same at each try."""

    @property
    def type(self) -> str:
        """The type, such as release.promoted."""


def receiver_of(address: str) -> str:
    """Return a name of an address for tables and messages: the host, and a part of the address's digest.

    The path of an address may hold a token. The eight digits tell two paths of one host apart.
    """
    return f"{urlsplit(address).hostname}#{digest_of(address)}"


def digest_of(address: str) -> str:
    """Return eight digits that tell an address from others."""
    return hashlib.sha256(address.encode()).hexdigest()[:8]


@dataclass
class History:
    """What a receiver got so far.

    Attributes:
        started: the row of the first use of the receiver; None before it.
        done: the ids of the messages that were sent or given up.
        tries: for a message that failed, the moments of its tries.
        not_before: until when the receiver asked to be left alone.
    """

    started: Mapping[str, Any] | None = None
    done: set[str] = field(default_factory=set)
    tries: dict[str, list[datetime]] = field(default_factory=dict)
    not_before: datetime = _LONG_AGO

    def waits_until(self, message_id: str) -> datetime | None:
        """Return the moment before which a message is not tried again; None for a first try."""
        tries = self.tries.get(message_id)
        if not tries:
            return None
        return max(tries) + min(_FIRST_WAIT * (1 << min(len(tries) - 1, 20)), _LONGEST_WAIT)


class Outbox:
    """The rows of one receiver.

    Args:
        lake: where the table is.
        receiver: the name of the receiver.
    """

    def __init__(self, lake: Lake, receiver: str) -> None:
        self._lake = lake
        self._receiver = receiver

    def read(self) -> History:
        """Return what the receiver got so far."""
        history = History()
        rows = [
            row for row in self._lake.scan(ANNOUNCEMENTS).to_pylist() if row["receiver"] == self._receiver
        ]
        for row in rows:
            history.not_before = max(history.not_before, row.get("not_before") or history.not_before)
            if row["state"] == STARTED:
                history.started = row
            elif row["state"] in (SENT, GIVEN_UP):
                history.done.add(row["announcement"])
            elif row["state"] == FAILED:
                history.tries.setdefault(row["announcement"], []).append(row["at"])
        return history

    def start(self, now: datetime, **noted: int) -> None:
        """Note the first use of the receiver, with columns that only the sender of the messages reads."""
        self._append({"state": STARTED, "at": now, **noted}, key=STARTED)

    def note(self, message: Sendable, state: str, attempt: int, now: datetime, sent: Sent) -> None:
        """Note one try: once by message, state and number of the try."""
        row: dict[str, Any] = {
            "announcement": message.id,
            "event": message.type,
            "state": state,
            "attempt": attempt,
            "at": now,
            "problem": sent.problem or sent.remark or None,
            "not_before": now + sent.wait if sent.wait else None,
        }
        self._append(row, key=f"{message.id}/{state}/{attempt}")

    def _append(self, row: Mapping[str, Any], *, key: str) -> None:
        table = pa.Table.from_pylist([{"receiver": self._receiver, **row}], schema=ANNOUNCEMENTS_SCHEMA)
        self._lake.append(ANNOUNCEMENTS, table, key=f"{self._receiver}/{key}")
