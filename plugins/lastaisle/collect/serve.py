"""Run the collector."""

from __future__ import annotations

import uvicorn

from lastaisle.collect.app import create_app
from lastaisle.collect.credentials import Credentials
from lastaisle.collect.folder import FolderSink
from lastaisle.collect.kafka import KafkaSink
from lastaisle.collect.sink import Sink
from lastaisle.settings import Settings

SHUTDOWN_SECONDS = 20


def serve(settings: Settings, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT; open requests are still answered then.

    Args:
        settings: `sources.address` names the sink of the calls; `collector` holds the keys of senders.
        host: the address to listen on.
        port: the port to listen on.

    Raises:
        SettingsError: there are no credentials, or the folder or topic cannot be written to.
    """
    credentials = Credentials.from_settings(settings)
    sink = sink_of(settings)
    sink.open()
    uvicorn.run(
        create_app(sink, credentials),
        host=host,
        port=port,
        log_config=None,
        access_log=False,  # the access log would hold callers' addresses
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )


def sink_of(settings: Settings) -> Sink:
    """Return the sink that `sources.address` names: a Kafka topic, or a landing folder.

    Raises:
        SettingsError: the address names neither a topic nor a folder.
    """
    if settings.sources.address.startswith("kafka://"):
        return KafkaSink.from_settings(settings)
    return FolderSink(settings)
