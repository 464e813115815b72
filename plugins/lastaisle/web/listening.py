"""Listen on an address, and configure the server that answers there."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final, cast

import uvicorn

from lastaisle.errors import ExitCode, LastaisleError
from lastaisle.web.connections import ConnectionLimits, Connections, GuardedProtocol, allow_open_files

SHUTDOWN_SECONDS: Final = 20
BACKLOG: Final = 2048


class ListenError(LastaisleError):
    """An address cannot be listened on."""

    exit_code = ExitCode.WRONG_REQUEST


def listen(host: str, port: int, listener: str) -> socket.socket:
    """Return a socket that listens on an address.

    Args:
        host: the address.
        port: the port; 0 is any free port.
        listener: who listens, for the error, such as "the collector".

    Raises:
        ListenError: the address is unknown or taken, and which.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ListenError(
            f"{listener} cannot listen on {host!r}, port {port}: {reason}; "
            "choose another address with --host or another port with --port"
        ) from error


def server_config(app: Any, count_refused: Callable[[str], None]) -> uvicorn.Config:
    """Return the configuration of a server whose connections are guarded, and which logs no caller.

    Args:
        app: the ASGI application.
        count_refused: is called with one word for the reason of each refused connection.
    """
    limits = replace(ConnectionLimits(), connections=allow_open_files())
    return uvicorn.Config(
        app,
        http=cast(Any, partial(GuardedProtocol, Connections(limits, count_refused))),
        ws="none",
        backlog=BACKLOG,
        log_config=None,
        access_log=False,  # the access log would hold callers' addresses
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )


def url_of(host: str, listening: socket.socket) -> str:
    """Return the address at which a client reaches a listening socket."""
    return f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"
