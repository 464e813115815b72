"""Send one message to one address."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import httpx

import lastaisle
from lastaisle.release.announcements.signature import headers_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lastaisle.release.announcements.message import Message

TIMEOUT_SECONDS: Final = 10.0
"""The longest time from the first connection to the answer."""


@dataclass(frozen=True)
class Answer:
    """What came of a try.

    Attributes:
        problem: why the message did not arrive; empty if it arrived. It holds neither the address nor the
            body of the answer.
        answered: whether the receiver answered at all.
    """

    problem: str = ""
    answered: bool = True


def send(message: Message, address: str, keys: Sequence[bytes]) -> Answer:
    """Send a signed message to an address.

    Only this address is called: no redirect is followed, and no proxy of the environment is used. The body of
    the answer is not read.

    Args:
        message: the message.
        address: the address.
        keys: the keys that sign.
    """
    body = message.body()
    headers = {
        "content-type": "application/json",
        "user-agent": f"lastaisle/{lastaisle.__version__}",
        **headers_of(message.id, body, keys, int(time.time())),
    }
    try:
        status = asyncio.run(_status_of(address, headers, body))
    except (TimeoutError, httpx.TimeoutException):
        return Answer(f"it gave no answer within {TIMEOUT_SECONDS:g} seconds", answered=False)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        # The text of such an error may hold a part of the answer.
        return Answer(f"it cannot be reached ({_cause_of(error)})", answered=False)
    if 200 <= status < 300:
        return Answer()
    followed = "; redirects are not followed" if 300 <= status < 400 else ""
    return Answer(f"it answered {status}{followed}")


async def _status_of(address: str, headers: dict[str, str], body: bytes) -> int:
    # The transport, unlike a client, logs no address, follows no redirect and uses no proxy by itself.
    # It trusts the certificates of SSL_CERT_FILE, where that is set.
    async with asyncio.timeout(TIMEOUT_SECONDS), httpx.AsyncHTTPTransport() as transport:
        request = httpx.Request("POST", address, headers=headers, content=body)
        response = await transport.handle_async_request(request)
        await response.aclose()
        return response.status_code


def _cause_of(error: BaseException) -> str:
    """Return the kind of an error, with the text of the system where there is one."""
    kind = type(error).__name__
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, OSError) and inner.strerror:
            return f"{kind}: {inner.strerror}"
        inner = inner.__cause__ or inner.__context__
    return kind
