"""The dashboard as an application that Airflow's API server mounts."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

URL_PREFIX = "/lastaisle"
"""Where Airflow mounts the dashboard."""

_Message = MutableMapping[str, Any]
_Application = Callable[
    [_Message, Callable[[], Awaitable[_Message]], Callable[[_Message], Awaitable[None]]], Awaitable[None]
]


class MountedDashboard:
    """Makes the dashboard with the first request.

    Every process of Airflow loads the plugins. Only the API server answers requests, so only the API server
    loads the libraries of the dashboard.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._application: _Application | None = None

    async def __call__(
        self,
        scope: _Message,
        receive: Callable[[], Awaitable[_Message]],
        send: Callable[[_Message], Awaitable[None]],
    ) -> None:
        """Answer a request; the first one waits in a thread, since other requests of Airflow go on."""
        application = self._application
        if application is None:
            application = await asyncio.to_thread(self._made)
        await application(scope, receive, send)

    def _made(self) -> _Application:
        with self._lock:
            if self._application is None:
                self._application = _make()
            return self._application


def _make() -> _Application:
    # Inside the function: these modules load FastAPI and Airflow's API server.
    from lastaisle.dashboard.app import PATIENCE, create_app
    from lastaisle.dashboard.source import Source
    from lastaisle.dashboard.warm import warm
    from lastaisle.settings import Settings
    from lastaisle_airflow.ui.access import AIRFLOW_ACCESS
    from lastaisle_airflow.ui.dag_pages import PATH, open_page_of_dag
    from lastaisle_airflow.ui.roll_back import start_rollback
    from lastaisle_airflow.ui.waiting import questions

    source = Source(Settings.from_env())
    warm(source)
    app = create_app(
        source,
        AIRFLOW_ACCESS,
        roll_back=start_rollback,
        is_embedded=True,
        waiting=questions,
        patience=PATIENCE,
    )
    app.add_api_route(PATH, open_page_of_dag, methods=["GET"])
    return app
