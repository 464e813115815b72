"""The HTTP side of the metrics: one page for Prometheus, for callers with a key."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from lastaisle.monitor.metrics.exposition import MEDIA_TYPE, render
from lastaisle.monitor.metrics.families import Sample
from lastaisle.web.keys import Keys, given_key


def create_app(
    samples: Callable[[], Sequence[Sample]], keys: Keys, running: AbstractContextManager[Any] | None = None
) -> Starlette:
    """Return the application.

    Args:
        samples: returns the values of the last looks, at once.
        keys: the keys that may read them.
        running: is entered when the application starts, and left when it ends.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        with running or nullcontext():
            yield

    async def show_metrics(request: Request) -> Response:
        if not keys.knows(given_key(request.scope["headers"])):
            return PlainTextResponse(
                "give a known key as `Authorization: Bearer KEY`, or as X-API-Key\n",
                401,
                {"WWW-Authenticate": "Bearer"},
            )
        return Response(render(samples()), media_type=MEDIA_TYPE)

    async def show_health(request: Request) -> Response:
        return PlainTextResponse("ok")

    routes = [Route("/metrics", show_metrics), Route("/healthz", show_health)]
    return Starlette(routes=routes, lifespan=lifespan)
