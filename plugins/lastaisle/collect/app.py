"""The collector's HTTP side: Segment's tracking API, its webhook, health and metrics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import orjson
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from lastaisle.collect.body import parse, read_body
from lastaisle.collect.calls import BATCHES, KINDS, Call, calls_of_request, calls_of_webhook
from lastaisle.collect.credentials import Credentials, basic_user
from lastaisle.collect.metrics import MEDIA_TYPE, Metrics
from lastaisle.collect.refusal import BusyError, RefusedError
from lastaisle.collect.sink import Sink

RETRY_AFTER_SECONDS = 2

_ACCEPTED = orjson.dumps({"success": True})


@dataclass(frozen=True)
class Limits:
    """The limits that bound the collector's memory.

    Attributes:
        body_bytes: the largest body of a request, in bytes; Segment's own limit is 500 KB.
        requests: the largest number of requests at the same time.
    """

    body_bytes: int = 512 << 10
    requests: int = 256


def create_app(sink: Sink, credentials: Credentials, limits: Limits | None = None) -> FastAPI:
    """Return the application.

    Args:
        sink: an open sink; the application closes it when it shuts down.
        credentials: the keys that callers are checked against.
        limits: limits of memory; default `Limits()`.
    """
    collector = Collector(sink, credentials, limits or Limits())

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(sink.close)

    app = FastAPI(title="Lastaisle collector", lifespan=lifespan, openapi_url=None)
    for endpoint in (*BATCHES, *KINDS):
        app.add_route(f"/v1/{endpoint}", partial(collector.track, endpoint), methods=["POST"])
    app.add_route("/segment/webhook", collector.webhook, methods=["POST"])
    app.add_route("/healthz", collector.health, methods=["GET"])
    app.add_route("/metrics", collector.show_metrics, methods=["GET"])
    return app


class Collector:
    """Answer requests; the answer 200 says that every call of the request is durable.

    Only the calls of a request are stored. Addresses and credentials are neither stored nor logged.
    """

    def __init__(self, sink: Sink, credentials: Credentials, limits: Limits) -> None:
        self.sink = sink
        self.credentials = credentials
        self.limits = limits
        self.metrics = Metrics()
        self._requests = 0

    async def track(self, endpoint: str, request: Request) -> Response:
        """Take the calls of Segment's tracking API."""
        return await self._take(endpoint, partial(self._tracked, endpoint), request)

    async def webhook(self, request: Request) -> Response:
        """Take the calls that Segment's Webhooks destination forwards."""
        return await self._take("webhook", self._forwarded, request)

    async def health(self, request: Request) -> Response:
        """Answer that the process runs; this checks nothing else."""
        return PlainTextResponse("ok")

    async def show_metrics(self, request: Request) -> Response:
        """Show the metrics to callers with a write key or the secret."""
        if not self.credentials.may_read_metrics(basic_user(request.headers.get("authorization", ""))):
            return self._refuse(_unauthorized("give a write key as the user name of Basic authorization"))
        return Response(self.metrics.render(self.sink.waiting), media_type=MEDIA_TYPE)

    async def _take(
        self, endpoint: str, read: Callable[[Request], Awaitable[list[Call]]], request: Request
    ) -> Response:
        if self._requests >= self.limits.requests:
            return self._refuse(BusyError(f"{self._requests} requests are being answered already"))
        self._requests += 1
        try:
            await self._store(endpoint, await read(request))
        except RefusedError as refusal:
            return self._refuse(refusal)
        finally:
            self._requests -= 1
        return Response(_ACCEPTED, media_type="application/json")

    async def _tracked(self, endpoint: str, request: Request) -> list[Call]:
        authorization = request.headers.get("authorization", "")
        if authorization and not self.credentials.is_write_key(basic_user(authorization)):
            raise _unauthorized("unknown write key")
        body = parse(await read_body(request, self.limits.body_bytes))
        if not authorization:
            key = body.get("writeKey") if isinstance(body, dict) else None
            if not isinstance(key, str) or not self.credentials.is_write_key(key):
                raise _unauthorized(
                    "give the write key as the user name of Basic authorization, or as writeKey"
                )
        return calls_of_request(endpoint, body, datetime.now(UTC), self.limits.body_bytes)

    async def _forwarded(self, request: Request) -> list[Call]:
        body = await read_body(request, self.limits.body_bytes)
        if not self.credentials.signed(body, request.headers.get("x-signature", "")):
            # Segment signs only the first call of a batch, so anybody could have added the other calls.
            hint = "; turn batching off in Segment's Webhooks destination" if body.startswith(b"[") else ""
            raise _unauthorized(f"X-Signature is not the HMAC-SHA1 of the body with the shared secret{hint}")
        return calls_of_webhook(parse(body), datetime.now(UTC), self.limits.body_bytes)

    async def _store(self, endpoint: str, calls: Sequence[Call]) -> None:
        started = time.perf_counter()
        if calls:
            await self.sink.append(calls)
        size = sum([len(call.line) for call in calls])
        self.metrics.stored(endpoint, len(calls), size, time.perf_counter() - started)

    def _refuse(self, refusal: RefusedError) -> Response:
        """Answer as Segment's clients understand it.

        Segment's Webhooks destination retries only 5xx, and Segment's clients treat 503 with Retry-After as
        429. So the answer is 503 also if there are only too many requests at once.
        """
        self.metrics.refused(refusal.code)
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if refusal.status == 503 else None
        content = {"success": False, "code": refusal.code, "message": str(refusal)}
        return Response(orjson.dumps(content), refusal.status, headers, "application/json")


def _unauthorized(message: str) -> RefusedError:
    return RefusedError(401, "unauthorized", message)
