"""The interface of the places that make calls durable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from lastaisle.collect.calls import Call


class Sink(Protocol):
    """A place that keeps calls for ingestion, also if the collector is killed afterwards."""

    def open(self) -> None:
        """Begin.

        Raises:
            LastaisleError: the place cannot be written to.
        """

    async def append(self, calls: Sequence[Call]) -> None:
        """Return when the calls are durable.

        Raises:
            BusyError: too much is waiting already; nothing was kept.
            StorageError: the calls are not durable, though some may have been kept.
        """

    def close(self) -> None:
        """End, with all appended calls in their place."""

    @property
    def waiting(self) -> int:
        """Bytes that were appended and are not durable yet."""
