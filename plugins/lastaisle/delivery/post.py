"""Send one body to one address over HTTP, in a bounded time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

import httpx

import lastaisle
from lastaisle.delivery.sent import Sent, cause_of

TIMEOUT_SECONDS: Final = 10.0
"""The longest time from the first connection to the answer."""


_LONGEST_WAIT: Final = timedelta(hours=6)


def post(
    address: str, headers: Mapping[str, str], body: bytes, meanings: Mapping[int, str] | None = None
) -> Sent:
    """Send a body of JSON to an address.

    Only this address is called: no redirect is followed, and no proxy of the environment is used. The body of
    the answer is not read.

    Args:
        address: the address.
        headers: headers beside those of every request.
        body: the body.
        meanings: what a status means to this receiver, in words.
    """
    headers = {
        "content-type": "application/json",
        "user-agent": f"lastaisle/{lastaisle.__version__}",
        **headers,
    }
    try:
        status, retry_after = asyncio.run(_answer_of(address, headers, body))
    except (TimeoutError, httpx.TimeoutException):
        return Sent(f"it gave no answer within {TIMEOUT_SECONDS:g} seconds", answered=False)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        # The text of such an error may hold a part of the answer.
        return Sent(f"it cannot be reached ({cause_of(error)})", answered=False)
    if 200 <= status < 300:
        return Sent()
    meaning = "redirects are not followed" if 300 <= status < 400 else (meanings or {}).get(status, "")
    return Sent(f"it answered {status}" + (f"; {meaning}" if meaning else ""), wait=_wait_of(retry_after))


async def _answer_of(address: str, headers: dict[str, str], body: bytes) -> tuple[int, str]:
    """Return the status and the header Retry-After of the answer."""
    # The transport, unlike a client, logs no address, follows no redirect and uses no proxy by itself.
    # It trusts the certificates of SSL_CERT_FILE, where that is set.
    async with asyncio.timeout(TIMEOUT_SECONDS), httpx.AsyncHTTPTransport() as transport:
        request = httpx.Request("POST", address, headers=headers, content=body)
        response = await transport.handle_async_request(request)
        await response.aclose()
        return response.status_code, response.headers.get("retry-after", "")


def _wait_of(retry_after: str) -> timedelta:
    """Return how long a receiver asks to be left alone: it says seconds, or a date."""
    try:
        if retry_after.isascii() and retry_after.isdigit():
            wait = timedelta(seconds=min(int(retry_after[:9]), 10**8))
        else:
            until = parsedate_to_datetime(retry_after)
            wait = (until if until.tzinfo else until.replace(tzinfo=UTC)) - datetime.now(UTC)
    except (ValueError, OverflowError):
        return timedelta(0)
    return min(max(wait, timedelta(0)), _LONGEST_WAIT)
