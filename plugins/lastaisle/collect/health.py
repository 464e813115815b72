"""Tell whether calls could be stored now; the answer is found at most once in two seconds."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from lastaisle.collect.sink import Sink
from lastaisle.web.keys import Keys
from lastaisle.web.refusal import StorageError

KEEP_SECONDS: Final = 2.0


class Health:
    """The collector's health; everybody may ask, so an answer is kept for KEEP_SECONDS.

    Args:
        sink: the sink that is checked.
        keys: the keys, whose file may be unreadable.
    """

    def __init__(self, sink: Sink, keys: Keys) -> None:
        self._sink = sink
        self._keys = keys
        self._problem = ""
        self._until = 0.0
        self._asking = asyncio.Lock()

    async def find_problem(self) -> str:
        """Return why calls could not be stored now; empty if they could."""
        async with self._asking:
            if time.monotonic() >= self._until:
                self._problem = await self._ask()
                self._until = time.monotonic() + KEEP_SECONDS
        return self._problem or self._keys.find_problem()

    async def _ask(self) -> str:
        try:
            await asyncio.to_thread(self._sink.check)
        except StorageError as error:
            return str(error)
        return ""
