"""Who may see the dashboard, and who may change something through it."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from fastapi import HTTPException, Request, status

HEADER: Final = "X-Lastaisle"
"""A header that a form of another site cannot send; each change must carry it."""
COOKIE: Final = "lastaisle_dashboard"


@dataclass(frozen=True)
class Access:
    """The dependencies of FastAPI that guard the pages.

    Attributes:
        may_read: refuses a request whose sender may not see the pages. It guards every path.
        may_roll_back: refuses a request whose sender may not move the champion; it returns the sender's name.
        token: the token of a dashboard by itself; None where another program knows its users.
    """

    may_read: Callable[..., Any]
    may_roll_back: Callable[..., Any]
    token: str | None = None


def require_own_page(request: Request) -> None:
    """Refuse a change that was not sent by a page of the dashboard itself.

    Raises:
        HTTPException: 403, without the header, or from a page of another origin.
    """
    origin, host = request.headers.get("origin"), request.headers.get("host", "")
    if HEADER.lower() not in request.headers:
        raise HTTPException(status.HTTP_403_FORBIDDEN, f"a change must carry the header {HEADER}")
    if origin is None or urlsplit(origin).netloc != host:
        raise HTTPException(status.HTTP_403_FORBIDDEN, "a change must come from a page of this dashboard")


def token_access(token: str) -> Access:
    """Return the access of a dashboard by itself: whoever has the token may see and change everything.

    The token comes in the header `Authorization: Bearer`, or in the cookie that the first page sets.
    """

    def may_read(request: Request) -> None:
        given = _given_token(request)
        if given is None or not hmac.compare_digest(given.encode("utf-8", "replace"), token.encode()):
            raise HTTPException(
                status.HTTP_401_UNAUTHORIZED,
                "open the address that `lastaisle dashboard` printed: it carries the token",
                headers={"WWW-Authenticate": "Bearer"},
            )

    def may_roll_back(request: Request) -> str:
        may_read(request)
        require_own_page(request)
        return "dashboard"

    return Access(may_read, may_roll_back, token)


def _given_token(request: Request) -> str | None:
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value:
        return value.strip()
    return request.cookies.get(COOKIE)
