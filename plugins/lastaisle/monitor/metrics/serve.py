"""Serve the metrics for Prometheus, and send them to an OpenTelemetry collector."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from lastaisle.lake.opening import open_lake
from lastaisle.monitor.metrics.app import create_app
from lastaisle.monitor.metrics.otlp import Sender
from lastaisle.monitor.metrics.parts import Measures, groups_of
from lastaisle.settings import Settings, SettingsError
from lastaisle.settings.metrics import MetricsSettings
from lastaisle.web.keys import Keys
from lastaisle.web.listening import listen, server_config, url_of

log = logging.getLogger(__name__)


def export_metrics(settings: Settings, host: str, port: int, announce: Callable[[str], None]) -> None:
    """Serve the metrics until SIGTERM or SIGINT.

    Args:
        settings: `metrics` holds the keys and the address of the OpenTelemetry collector.
        host: the address to listen on.
        port: the port to listen on; 0 is any free port.
        announce: is called with each line for the user.

    Raises:
        SettingsError: there is neither a key nor a collector, or the file of keys cannot be read.
        ListenError: the address cannot be listened on.
    """
    # The next look asks again: MLflow's client need not, for minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    options = settings.metrics
    if not options.is_on:
        raise SettingsError(
            "the metrics are shown to callers with a key: set LASTAISLE_METRICS_KEYS (keys, separated by "
            "commas) or LASTAISLE_METRICS_KEY_FILE (a file with a key in each line); "
            "`openssl rand -hex 16` makes a key. Or set LASTAISLE_OTLP, to send them to a collector"
        )
    keys = Keys.of(options.keys, options.key_file)
    measures = Measures(groups_of(open_lake(settings), settings), options.seconds)
    with listen(host, port, "the export of metrics") as listening:
        for line in introduction(options, keys, url_of(host, listening)):
            announce(line)
        app = create_app(measures.samples, keys, _running(measures, options))
        uvicorn.Server(server_config(app, lambda reason: log.warning("refused: %s", reason))).run([listening])


def introduction(options: MetricsSettings, keys: Keys, url: str) -> list[str]:
    """Say where the metrics are, and where they go."""
    lines = [f"The metrics are at {url}/metrics."]
    if not keys.has_any():
        lines = [f"No key may read the metrics at {url}/metrics: set LASTAISLE_METRICS_KEYS to open them."]
    if options.otlp:
        lines.append(f"They are sent to {options.otlp}, every {options.seconds:g} s.")
    return lines


@contextmanager
def _running(measures: Measures, options: MetricsSettings) -> Iterator[None]:
    """Look at the tables during a block, and send what is found if there is a collector."""
    measures.start()
    sender = Sender(measures.samples, options.metrics_url, options.seconds) if options.otlp else None
    yield
    if sender:
        sender.stop()
    measures.stop()
