"""Read the body of a request in bounded memory and time, and unpack gzip."""

from __future__ import annotations

import asyncio
import zlib
from typing import Final

from starlette.requests import ClientDisconnect, Request

from lastaisle.web.places import Place
from lastaisle.web.refusal import RefusedError

READ_SECONDS: Final = 30


async def read_body(request: Request, limit: int, place: Place) -> bytes:
    """Return the body of a request, unpacked.

    Args:
        request: the request.
        limit: the largest size of the body in bytes, before and after unpacking.
        place: the request's place; while the body arrives, a newer request may end it.

    Raises:
        RefusedError: 413 too large, 415 packed in an unknown way, 400 damaged or cut off, 408 too slow.
    """
    try:
        async with asyncio.timeout(READ_SECONDS) as place.deadline:
            body = await _receive(request, limit)
    except TimeoutError:
        hint = f"the body did not arrive within {READ_SECONDS} s, or before too many newer requests"
        raise RefusedError(408, "slow", hint) from None
    except ClientDisconnect:
        raise RefusedError(400, "disconnected", "the client disconnected before its body arrived") from None
    finally:
        place.deadline = None
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip"):
        raise RefusedError(415, "encoding", f"send the body plain or as gzip, received {encoding[:40]!r}")
    return _unpack(body, limit)


async def _receive(request: Request, limit: int) -> bytes:
    announced = request.headers.get("content-length", "0")
    if announced.isascii() and announced.isdigit() and int(announced) > limit:
        raise _too_large(limit)
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
    return b"".join(chunks)


def _unpack(packed: bytes, limit: int) -> bytes:
    member = zlib.decompressobj(wbits=31)
    try:
        body = member.decompress(packed, limit + 1)
    except zlib.error as error:
        raise RefusedError(400, "not_gzip", f"the body is declared as gzip and is damaged: {error}") from None
    if len(body) > limit:
        raise _too_large(limit)
    if not member.eof or member.unused_data:
        raise RefusedError(
            400, "not_gzip", "the body is declared as gzip and is not exactly one complete gzip member"
        )
    return body


def _too_large(limit: int) -> RefusedError:
    return RefusedError(413, "too_large", f"send at most {limit:,} bytes a request, also when unpacked")
