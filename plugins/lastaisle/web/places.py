"""Places for requests: a request whose body does not arrive gives its place to a newer request."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from lastaisle.web.refusal import BusyError


class Place:
    """The place of one request.

    Attributes:
        deadline: the deadline of the body while the body arrives, else None.
    """

    def __init__(self) -> None:
        self.deadline: asyncio.Timeout | None = None


class Places:
    """A fixed number of places, which bounds the memory of bodies.

    Bodies that arrive slowly cannot keep others out. If all places are taken, the request that has waited
    longest for the rest of its body is ended, as if its deadline were over.

    Args:
        size: number of places.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._taken: dict[Place, None] = {}  # in the order of arrival

    @contextmanager
    def take(self) -> Iterator[Place]:
        """Hold a place during a block.

        Raises:
            BusyError: all places are taken by requests whose bodies are complete.
        """
        if len(self._taken) >= self.size:
            self._free_oldest()
        place = Place()
        self._taken[place] = None
        try:
            yield place
        finally:
            self._taken.pop(place, None)

    def _free_oldest(self) -> None:
        for place in self._taken:
            if place.deadline is not None:
                place.deadline.reschedule(asyncio.get_running_loop().time())
                place.deadline = None
                del self._taken[place]
                return
        raise BusyError(f"{len(self._taken)} requests are being answered already")
