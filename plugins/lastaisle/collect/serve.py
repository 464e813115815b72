"""Run the collector."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, Final, cast

import uvicorn

from lastaisle.collect.app import create_app
from lastaisle.collect.connections import ConnectionLimits, Connections, GuardedProtocol, allow_open_files
from lastaisle.collect.credentials import Credentials
from lastaisle.collect.folder import FolderSink
from lastaisle.collect.kafka import KafkaSink
from lastaisle.collect.metrics import Metrics
from lastaisle.collect.replays import Replays
from lastaisle.collect.sink import Sink
from lastaisle.errors import ExitCode, LastaisleError
from lastaisle.settings import Settings

SHUTDOWN_SECONDS: Final = 20
BACKLOG: Final = 2048


class ListenError(LastaisleError):
    """The collector cannot listen on its address."""

    exit_code = ExitCode.WRONG_REQUEST


def serve(settings: Settings, host: str, port: int, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; open requests are still answered then.

    Args:
        settings: `sources.address` names the sink of the calls; `collector` holds the keys of senders.
        host: the address to listen on.
        port: the port to listen on; 0 is any free port.
        announce: is called with each line that says where the collector listens, where it writes, and how to
            send a first event.

    Raises:
        SettingsError: there are no credentials, or the folder or topic cannot be written to.
        ListenError: the address cannot be listened on.
    """
    credentials = Credentials.from_settings(settings)
    sink = sink_of(settings)
    window = timedelta(hours=settings.collector.segment_webhook_hours)
    taken = settings.home / "collector" / "webhook.db"
    replays = Replays(taken, window) if credentials.secret else None
    with listen(host, port) as listening:
        sink.open()
        for line in introduction(settings, credentials, _url(host, listening)):
            announce(line)
        metrics = Metrics()
        origins = [origin.strip() for origin in settings.collector.cors_origins.split(",")]
        app = create_app(sink, credentials, replays, origins=origins, metrics=metrics)
        limits = replace(ConnectionLimits(), connections=allow_open_files())
        uvicorn.Server(_config(app, Connections(limits, metrics))).run([listening])


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an address.

    Raises:
        ListenError: the address is unknown or taken, and which.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ListenError(
            f"the collector cannot listen on {host!r}, port {port}: {reason}; "
            "choose another address with --host or another port with --port"
        ) from error


def introduction(settings: Settings, credentials: Credentials, url: str) -> list[str]:
    """Say where the collector listens, where it writes, and how to send a first event."""
    lines = [f"The collector listens on {url}.", f"It writes to {settings.sources.address}."]
    if credentials.write_keys.has_any():
        event = '{"event": "Product Viewed", "anonymousId": "a1", "properties": {"product_id": "p1"}}'
        lines.append(f"Send a first event: curl -u WRITE_KEY: -d '{event}' {url}/v1/track")
    else:
        lines.append(f"Name this address in Segment's Webhooks destination: {url}/segment/webhook")
    return lines


def sink_of(settings: Settings) -> Sink:
    """Return the sink that `sources.address` names: a Kafka topic, or a landing folder.

    Raises:
        SettingsError: the address names neither a topic nor a folder.
    """
    if settings.sources.address.startswith("kafka://"):
        return KafkaSink.from_settings(settings)
    return FolderSink(settings)


def _config(app: Any, connections: Connections) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=cast(Any, partial(GuardedProtocol, connections)),
        ws="none",
        backlog=BACKLOG,
        log_config=None,
        access_log=False,  # the access log would hold callers' addresses
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )


def _url(host: str, listening: socket.socket) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"
