"""Guard the connections: idle senders and half-sent requests cannot keep honest senders out.

uvicorn bounds neither the size of a request's head nor the time that it takes, and its limit of connections
refuses new senders while idle ones stay. This module adds these three bounds to uvicorn's protocol.
"""

from __future__ import annotations

import asyncio
import resource
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from lastaisle.web.joined import JoinedWrites

HEAD_BYTES: Final = 16 << 10
HEAD_SECONDS: Final = 5.0
CONNECTIONS: Final = 4096
_FILES: Final = 2 * CONNECTIONS + 256  # room for connections that wait to be closed, and for files

_TOO_LARGE: Final = b"431 Request Header Fields Too Large"
_FULL: Final = b"503 Service Unavailable"


@dataclass(frozen=True)
class ConnectionLimits:
    """The limits of connections.

    Attributes:
        connections: the largest number of connections at the same time.
        head_bytes: the largest size of a request's line and headers, in bytes.
        head_seconds: seconds in which a connection must send a request's line and headers.
        body_bytes: the largest number of bytes that a request may send after its headers; then the connection
            is ended. It is larger than the limit of bodies, which has an answer of its own.
    """

    connections: int = CONNECTIONS
    head_bytes: int = HEAD_BYTES
    head_seconds: float = HEAD_SECONDS
    body_bytes: int = 4 << 20


class Connections:
    """All connections, and among them those that wait: no complete head has come since their last answer.

    Args:
        limits: the limits.
        count_refused: is called with one word for the reason of each refused connection.
    """

    def __init__(self, limits: ConnectionLimits, count_refused: Callable[[str], None]) -> None:
        self.limits = limits
        self.count_refused = count_refused
        self._open: set[GuardedProtocol] = set()
        self._waiting: dict[GuardedProtocol, None] = {}  # in the order in which they began to wait
        self._waiting_by_address: Counter[str] = Counter()

    def admit(self, connection: GuardedProtocol) -> bool:
        """Take a connection in; if there are too many, close one that waits.

        Returns:
            Whether there is room: without a waiting connection, there may be none.
        """
        if len(self._open) >= self.limits.connections and not self._close_one():
            return False
        self._open.add(connection)
        return True

    def wait(self, connection: GuardedProtocol) -> None:
        """Note that a connection waits from now on."""
        if connection in self._open and connection not in self._waiting:
            self._waiting[connection] = None
            self._waiting_by_address[connection.address] += 1

    def stop_waiting(self, connection: GuardedProtocol) -> None:
        """Note that the head of a request is complete, or that the connection ends."""
        if connection in self._waiting:
            del self._waiting[connection]
            self._waiting_by_address[connection.address] -= 1
            if not self._waiting_by_address[connection.address]:
                del self._waiting_by_address[connection.address]

    def leave(self, connection: GuardedProtocol) -> None:
        """Forget a connection."""
        self.stop_waiting(connection)
        self._open.discard(connection)

    def _close_one(self) -> bool:
        """Close the connection that waits longest, of the address from which most connections wait."""
        if not self._waiting:
            return False
        (address, _), *_ = self._waiting_by_address.most_common(1)
        oldest = next(connection for connection in self._waiting if connection.address == address)
        self.leave(oldest)
        self.count_refused("connection_idle")
        oldest.transport.abort()
        return True


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with bounds on the head of a request and on the number of connections."""

    def __init__(self, guard: Connections, **given: Any) -> None:
        super().__init__(**given)
        self.address = ""
        self._guard = guard
        self._deadline: asyncio.TimerHandle | None = None
        self._in_head = True
        self._received = (
            0  # bytes of the head so far, or of the body so far, without those read beside others
        )
        self._turned = False  # whether a head or a body began in the bytes that are being parsed
        self._head_size = 0  # bytes of the parsed parts of the head
        self._ignoring = False  # whether the rest of the input is thrown away until the sender closes

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection in, and give it the time of a head."""
        super().connection_made(cast(asyncio.Transport, JoinedWrites(transport, self.loop)))
        self.address = self.client[0] if self.client else ""
        if self._guard.admit(self):
            self._wait()
        else:
            self._refuse(_FULL, "connections")

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_waiting()
        self._guard.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse bytes, and refuse a head that grows too large."""
        if self._ignoring:
            return
        self._turned = False
        super().data_received(data)
        if self._ignoring or self._turned or self.transport.is_closing():
            return
        self._received += len(data)
        if self._in_head and self._received > self._guard.limits.head_bytes:
            self._refuse(_TOO_LARGE, "head_too_large")
        elif not self._in_head and self._received > self._guard.limits.body_bytes:
            self._ignore()

    def on_message_begin(self) -> None:
        """Begin a head."""
        super().on_message_begin()
        self._turn(in_head=True)

    def on_url(self, url: bytes) -> None:
        """Count the bytes of the request's line."""
        self._head_size += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header; the trailers behind a body are dropped."""
        if self._in_head:
            self._head_size += len(name) + len(value) + 4
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Let uvicorn answer the request, if its head is not too large."""
        self._turn(in_head=False)
        if self._ignoring:
            return
        if self._head_size > self._guard.limits.head_bytes:
            self._refuse(_TOO_LARGE, "head_too_large")
            return
        if not self.flow.write_paused:
            self._stop_waiting()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Pass a part of the body on, unless the request was refused."""
        if not self._ignoring:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Pass the end of the body on, unless the request was refused."""
        self._turn(in_head=True)
        if not self._ignoring:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request, if it has not come yet."""
        if not self.pipeline and not self.transport.is_closing():
            self._wait()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Give a sender that does not read its answers the time of a head."""
        super().pause_writing()
        self._wait()

    def resume_writing(self) -> None:
        """Go on with the answers."""
        super().resume_writing()
        if self._is_answering() and not self._ignoring:
            self._stop_waiting()

    def _turn(self, *, in_head: bool) -> None:
        self._in_head, self._received, self._turned = in_head, 0, True
        if in_head:
            self._head_size = 0

    def _wait(self) -> None:
        self._stop_waiting()
        self._guard.wait(self)
        self._deadline = self.loop.call_later(self._guard.limits.head_seconds, self._end_wait)

    def _stop_waiting(self) -> None:
        self._guard.stop_waiting(self)
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None

    def _end_wait(self) -> None:
        if self._in_head and self._received:
            self._guard.count_refused("head_slow")
        self.transport.abort()

    def _refuse(self, status: bytes, reason: str) -> None:
        """Answer a connection whose request never reaches the application."""
        self._guard.count_refused(reason)
        if not self._is_answering():
            answer = b"HTTP/1.1 %s\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            self.transport.write(answer % status)
        self._ignore()

    def _ignore(self) -> None:
        """End this side, and throw away what the sender still sends, so that the sender reads the answer.

        Closing at once would reset the connection, and the sender might never see the answer.
        """
        self._ignoring = True
        if self._is_answering():  # of several requests that were sent at once, one is not answered yet
            self.transport.abort()
            return
        self.transport.write_eof()
        self._wait()

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete


def allow_open_files() -> int:
    """Raise this process's limit of open files, and return how many connections fit under it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return CONNECTIONS if soft == resource.RLIM_INFINITY else min(CONNECTIONS, max(16, (soft - 256) // 2))
