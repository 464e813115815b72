"""Run the dashboard by itself, beside no Airflow."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import quote

import uvicorn

from lastaisle.dashboard.access import token_access
from lastaisle.dashboard.app import PATIENCE, create_app
from lastaisle.dashboard.render import RollBackRequest
from lastaisle.dashboard.source import Source
from lastaisle.dashboard.warm import warm
from lastaisle.web.listening import listen, server_config, url_of

if TYPE_CHECKING:
    from lastaisle.settings import Settings


def run_dashboard(settings: Settings, host: str, port: int, announce: Callable[[str], None]) -> None:
    """Show the pages until SIGTERM or SIGINT.

    Args:
        settings: the installation; `dashboard.token` is the token, a random one if it is empty.
        host: the address to listen on.
        port: the port to listen on; 0 is any free port.
        announce: is called with each line for the user.

    Raises:
        ListenError: the address cannot be listened on.
    """
    token = settings.dashboard.token.get_secret_value() or secrets.token_urlsafe(24)
    source = Source(settings)
    app = create_app(
        source,
        token_access(token),
        roll_back=lambda request: roll_back(source, request),
        patience=PATIENCE,
    )
    with listen(host, port, "the dashboard") as listening:
        announce(f"Open {url_of(host, listening)}/?token={quote(token)}")
        announce("The address is for you alone: its token lets a reader see all pages and roll back.")
        config = server_config(app, lambda _: None)
        warm(source)
        try:
            uvicorn.Server(config).run([listening])
        finally:
            source.close()


def roll_back(source: Source, request: RollBackRequest) -> str:
    """Move the champion in this process, and say what happened.

    Raises:
        RegistryError: the version cannot become champion.
    """
    from lastaisle.release.rollback import rollback  # it loads MLflow

    report = rollback(
        source.lake,
        source.registry,
        to_version=request.to_version,
        reason=request.reason,
        actor=request.actor,
        dry_run=False,
        force=request.force,
    )
    if not report.moved:
        return f"Version {report.to_version} is champion already: nothing moved."
    return f"Version {report.to_version} is champion now. Services load it within seconds."
