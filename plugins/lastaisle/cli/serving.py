"""The commands that serve: recommendations, and metrics.

Imports stand inside the commands, so that `--help` and other commands load nothing heavy.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from lastaisle.cli.options import Host, LakeUrl
from lastaisle.cli.terminal import announce, read_settings


def serve(
    host: Host = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(
            help="Port to listen on; 0 is any free port; default: LASTAISLE_SERVE_PORT.", min=0, max=65535
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(help="How many processes answer; default: LASTAISLE_SERVE_WORKERS.", min=1, max=64),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            help="Folder `light` of a packed model, which is served without MLflow; default: the version "
            "that has the alias LASTAISLE_SERVE_FOLLOW."
        ),
    ] = None,
) -> None:
    """Answer requests for recommendations over HTTP, until SIGTERM.

    LASTAISLE_SERVE_KEYS names the API keys that may ask; LASTAISLE_SERVE_KEY_FILE is a file of such keys. The
    service follows the registry: when another version gets the alias, it answers with that version.
    """
    from lastaisle.serve.run import serve as run

    settings = read_settings()
    changes: dict[str, Any] = {"serve_workers": workers} if workers is not None else {}
    settings = settings.replace(**changes)
    run(settings, host, settings.serve.port if port is None else port, announce, folder=model)


def export_metrics(
    host: Host = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(
            help="Port to listen on; 0 is any free port; default: LASTAISLE_METRICS_PORT.", min=0, max=65535
        ),
    ] = None,
    otlp: Annotated[
        str,
        typer.Option(help="OpenTelemetry collector that gets the metrics as well; default: LASTAISLE_OTLP."),
    ] = "",
    lake: LakeUrl = "",
) -> None:
    """Serve the metrics of the pipeline to Prometheus at /metrics, until SIGTERM.

    LASTAISLE_METRICS_KEYS names the keys that may read them; LASTAISLE_METRICS_KEY_FILE is a file of such
    keys. docs/metrics.md lists the metrics.
    """
    from lastaisle.monitor.metrics.serve import export_metrics as run

    settings = read_settings(lake)
    settings = settings.replace(otlp=otlp) if otlp else settings
    run(settings, host, settings.metrics.port if port is None else port, announce)
