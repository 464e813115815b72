"""The interface of sinks: places that make calls durable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from lastaisle.collect.calls import Call


class Sink(Protocol):
    """A place that keeps calls for ingestion, also if the collector is killed afterwards."""

    def open(self) -> None:
        """Open the place, before the first call of `append`.

        Raises:
            LastaisleError: the place cannot be written to.
        """

    async def append(self, calls: Sequence[Call]) -> None:
        """Return when the calls are durable.

        Raises:
            BusyError: too many bytes wait already; no call was stored.
            StorageError: not all calls are durable; some of them may have been stored.
        """

    def check(self) -> None:
        """Find out whether calls could be stored now; this may take seconds.

        Raises:
            StorageError: they could not, and why.
        """

    def close(self) -> None:
        """Close the place; all appended calls are durable then."""

    @property
    def waiting(self) -> int:
        """Number of appended bytes that are not durable yet."""
