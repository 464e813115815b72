"""The command that shows the dashboard.

Imports stand inside the command, so that `--help` and other commands load nothing heavy.
"""

from __future__ import annotations

from typing import Annotated

import typer

from lastaisle.cli.options import Host
from lastaisle.cli.terminal import announce, read_settings


def dashboard(
    host: Host = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(
            help="Port to listen on; 0 is any free port; default: LASTAISLE_DASHBOARD_PORT.", min=0, max=65535
        ),
    ] = None,
) -> None:
    """Show the dashboard in the browser, until SIGTERM; in Airflow the same pages stand in the menu.

    The command prints an address with a token. Only a browser that opened this address may see the pages.
    """
    from lastaisle.dashboard.run import run_dashboard

    settings = read_settings()
    run_dashboard(settings, host, settings.dashboard.port if port is None else port, announce)
