"""Join the parts of an answer, so that they leave by one call of the operating system."""

from __future__ import annotations

import asyncio
from typing import Any, Final

JOINED_BYTES: Final = 64 << 10


class JoinedWrites:
    """A transport that sends at the end of the loop's turn what was written during the turn.

    uvicorn writes the head and the body of an answer apart. Each write would be a system call, and would wake
    the reader. Parts of more than 64 KiB together are sent at once, so that the transport can say that its
    reader is slow.

    Args:
        transport: the transport that sends; all that is not about writing goes to it.
        loop: the running event loop.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []
        self._size = 0

    def __getattr__(self, name: str) -> Any:
        """Return what the transport has under a name."""
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send bytes before the loop waits again."""
        if not self._parts:
            self._loop.call_soon(self._send)
        self._parts.append(data)
        self._size += len(data)
        if self._size > JOINED_BYTES:
            self._send()

    def write_eof(self) -> None:
        """Send what was written, and end this side."""
        self._send()
        self._transport.write_eof()

    def close(self) -> None:
        """Send what was written, and close."""
        self._send()
        self._transport.close()

    def _send(self) -> None:
        parts, self._parts, self._size = self._parts, [], 0
        if parts and not self._transport.is_closing():
            self._transport.write(b"".join(parts))
