"""Read the body of a request in bounded memory and time; unpack gzip, and parse JSON."""

from __future__ import annotations

import asyncio
import json
import zlib
from typing import Any

import orjson
from starlette.requests import ClientDisconnect, Request

from lastaisle.collect.refusal import RefusedError

READ_SECONDS = 30


async def read_body(request: Request, limit: int) -> bytes:
    """Return the body of a request, unpacked.

    Args:
        request: the request.
        limit: the largest size of the body in bytes, before and after unpacking.

    Raises:
        RefusedError: 413 too large, 415 packed in an unknown way, 400 damaged or cut off, 408 too slow.
    """
    try:
        async with asyncio.timeout(READ_SECONDS):
            body = await _receive(request, limit)
    except TimeoutError:
        raise RefusedError(408, "slow", f"the body did not arrive within {READ_SECONDS} s") from None
    except ClientDisconnect:
        raise RefusedError(400, "disconnected", "the client disconnected before its body arrived") from None
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip"):
        raise RefusedError(415, "encoding", f"send the body plain or as gzip, received {encoding[:40]!r}")
    return _unpack(body, limit)


def parse(body: bytes) -> Any:
    """Parse a body of JSON.

    Browsers sometimes cut an emoji in half. Half a character becomes U+FFFD, so that the rest of the batch
    is kept.

    Raises:
        RefusedError: 400, the body is not JSON.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if b"\\u" in body:
            try:
                text = json.dumps(json.loads(body), ensure_ascii=False)
                return orjson.loads(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
            except (ValueError, RecursionError):
                pass  # the first error says where the body is broken
        raise RefusedError(400, "not_json", f"the body is not JSON: {error}") from None


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
