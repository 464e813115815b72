"""The dashboard's application: its pages, its static files, and what happens when a page cannot be shown."""

from __future__ import annotations

import hmac
import time
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Final

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.responses import RedirectResponse

from lastaisle.dashboard.access import COOKIE, Access
from lastaisle.dashboard.choices import ChoiceError
from lastaisle.dashboard.pages import (
    comparison,
    data,
    drift,
    experiments,
    privacy,
    quality,
    releases,
    shop,
    today,
)
from lastaisle.dashboard.render import Pages, RollBack, Waiting, nothing_waits, pages_of
from lastaisle.dashboard.source import DEADLINE, Source
from lastaisle.errors import LastaisleError

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
STATIC: Final = {
    "dashboard.css": "text/css",
    "dashboard.js": "text/javascript",
    "uPlot.min.css": "text/css",
    "uPlot.iife.min.js": "text/javascript",
}
PATIENCE: Final = 0.3
"""So many seconds a page waits for values that are computed for the first time; see `create_app`."""
_Next = Callable[[Request], Awaitable[Response]]


def create_app(
    source: Source,
    access: Access,
    *,
    roll_back: RollBack,
    is_embedded: bool = False,
    waiting: Callable[[], list[Waiting]] = nothing_waits,
    patience: float | None = None,
) -> FastAPI:
    """Return the application. It has no pages of its own documentation, since those would need no access.

    Args:
        source: what the pages read.
        access: who may see and change what. The dependency `may_read` guards every path.
        roll_back: moves the champion.
        is_embedded: whether the pages are shown in a frame of Airflow.
        waiting: returns the questions that wait for a person.
        patience: so many seconds a page waits for values that are computed for the first time. Then the page
            is shown without them, and the browser loads it again. None waits for as long as it takes.
    """
    app = FastAPI(
        title="Lastaisle",
        dependencies=[Depends(access.may_read)],
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        exception_handlers={
            LastaisleError: _show_error,
            AnyHTTPException: _show_refusal,
            Exception: _show_fault,
        },
    )
    app.state.pages = Pages(source, access, roll_back, is_embedded, waiting)
    app.add_api_route("/static/{name}", static_file, methods=["GET"])
    for router in (
        releases.change_router(access),
        today.router,
        shop.router,
        quality.router,
        data.router,
        drift.router,
        comparison.router,  # before the page of a version, whose address has the same beginning
        releases.router,
        experiments.router,
        privacy.router,
    ):
        app.include_router(router)
    if access.token is not None:
        app.middleware("http")(_signing_in(access.token))
    if patience is not None:
        app.middleware("http")(_with_deadline(patience))
    app.middleware("http")(_with_headers)
    return app


def static_file(name: str) -> Response:
    """Return a file of the pages. Its address carries the release, so browsers may keep it for a day."""
    if name not in STATIC:
        raise HTTPException(404, "there is no such file")
    content = files("lastaisle.dashboard").joinpath("static", name).read_bytes()
    return Response(content, media_type=STATIC[name], headers={"Cache-Control": "private, max-age=86400"})


def _signing_in(token: str) -> Callable[[Request, _Next], Awaitable[Response]]:
    """Return the step that takes the token out of the printed address, and puts it into a cookie."""

    async def sign_in(request: Request, call_next: _Next) -> Response:
        given = request.query_params.get("token", "")
        if not hmac.compare_digest(given.encode("utf-8", "replace"), token.encode()):
            return await call_next(request)
        response = RedirectResponse(request.url.path, 303)
        response.set_cookie(COOKIE, token, httponly=True, samesite="strict")
        return response

    return sign_in


def _with_deadline(patience: float) -> Callable[[Request, _Next], Awaitable[Response]]:
    """Return the step that bounds how long a page waits for values."""

    async def set_deadline(request: Request, call_next: _Next) -> Response:
        DEADLINE.set(time.monotonic() + patience)
        return await call_next(request)

    return set_deadline


async def _with_headers(request: Request, call_next: _Next) -> Response:
    """Add the headers that bound what a page may load and do."""
    response = await call_next(request)
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


async def _show_error(request: Request, error: Exception) -> Response:
    is_choice = isinstance(error, ChoiceError)
    return pages_of(request).render(
        request,
        "problem",
        title="There is no such page" if is_choice else "This page cannot be shown",
        status=error.status if isinstance(error, ChoiceError) else 503,
        problem=str(error),
        is_choice=is_choice,
    )


async def _show_fault(request: Request, error: Exception) -> Response:
    """Say that something unexpected happened; the server logs the error itself."""
    text = f"500: this failed unexpectedly ({type(error).__name__}); the log of the server names the cause\n"
    return Response(text, 500, HEADERS, "text/plain; charset=utf-8")


async def _show_refusal(request: Request, error: Exception) -> Response:
    """Show a refusal without the menu: its reader may not be known."""
    assert isinstance(error, AnyHTTPException)
    text = f"{error.status_code}: {error.detail}\n"
    return Response(text, error.status_code, error.headers, "text/plain; charset=utf-8")
