"""Run the collector."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import uvicorn

from lastaisle.collect.app import create_app
from lastaisle.collect.credentials import Credentials
from lastaisle.collect.metrics import Metrics
from lastaisle.collect.replays import Replays
from lastaisle.collect.sinks import sink_of
from lastaisle.settings import Settings
from lastaisle.web.listening import listen, server_config, url_of


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
    sink = sink_of(settings.sources.address)
    window = timedelta(hours=settings.collector.segment_webhook_hours)
    taken = settings.home / "collector" / "webhook.db"
    replays = Replays(taken, window) if credentials.secret else None
    with listen(host, port, "the collector") as listening:
        sink.open()
        for line in introduction(settings, credentials, url_of(host, listening)):
            announce(line)
        metrics = Metrics()
        origins = [origin.strip() for origin in settings.collector.cors_origins.split(",")]
        app = create_app(sink, credentials, replays, origins=origins, metrics=metrics)
        uvicorn.Server(server_config(app, metrics.refused)).run([listening])


def introduction(settings: Settings, credentials: Credentials, url: str) -> list[str]:
    """Say where the collector listens, where it writes, and how to send a first event."""
    lines = [f"The collector listens on {url}.", f"It writes to {settings.sources.address}."]
    if credentials.write_keys.has_any():
        event = '{"event": "Product Viewed", "anonymousId": "a1", "properties": {"product_id": "p1"}}'
        lines.append(f"Send a first event: curl -u WRITE_KEY: -d '{event}' {url}/v1/track")
    else:
        lines.append(f"Name this address in Segment's Webhooks destination: {url}/segment/webhook")
    return lines
