"""The collector's HTTP side: Segment's tracking API, its webhook, health and metrics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import orjson
from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from lastaisle.collect.calls import BATCHES, KINDS, Call, calls_of_request, calls_of_webhook, received_at
from lastaisle.collect.credentials import Credentials, basic_user
from lastaisle.collect.health import Health
from lastaisle.collect.metrics import MEDIA_TYPE, Metrics
from lastaisle.collect.replays import Replays
from lastaisle.collect.sink import Sink
from lastaisle.web.body import read_body
from lastaisle.web.json_text import parse
from lastaisle.web.places import Place, Places
from lastaisle.web.refusal import RefusedError

SHORT_PATHS: Final = {
    **{kind: kind for kind in (*KINDS, *BATCHES)},
    "t": "track",
    "p": "page",
    "i": "identify",
    "s": "screen",
    "g": "group",
    "a": "alias",
    "b": "batch",
}
"""The paths under /v1 with their endpoints: browsers and mobile apps use the paths of one letter."""

_ACCEPTED: Final = orjson.dumps({"success": True})

_Handle = Callable[[Request, Place], Coroutine[Any, Any, None]]


@dataclass(frozen=True)
class Limits:
    """The limits that bound the collector's memory.

    Attributes:
        body_bytes: the largest body of a request, in bytes; Segment's own limit is 500 KB.
        requests: the largest number of requests at the same time whose headers name a write key.
        unknown_requests: the largest number of other requests at the same time; their bodies say who is
            calling.
    """

    body_bytes: int = 512 << 10
    requests: int = 256
    unknown_requests: int = 64


def create_app(
    sink: Sink,
    credentials: Credentials,
    replays: Replays | None,
    *,
    origins: Sequence[str] = (),
    limits: Limits | None = None,
    metrics: Metrics | None = None,
) -> FastAPI:
    """Return the application.

    Args:
        sink: an open sink; the application closes it when it shuts down.
        credentials: the keys that callers are checked against.
        replays: what the webhook took already; the application closes it when it shuts down. None closes the
            webhook.
        origins: the origins of pages that may send from a browser; `*` allows all pages.
        limits: limits of memory; default `Limits()`.
        metrics: the counters; default new ones.
    """
    collector = Collector(sink, credentials, replays, limits or Limits(), metrics or Metrics())

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(sink.close)
        if replays:
            replays.close()

    tracking = [
        Route(f"/{path}{slash}", partial(collector.track, endpoint), methods=["POST"])
        for path, endpoint in SHORT_PATHS.items()
        for slash in ("", "/")
    ]
    for slash in ("", "/"):
        tracking.append(Route(f"/m{slash}", collector.drop, methods=["POST"]))
        tracking.append(Route(f"/projects/{{key}}/settings{slash}", collector.show_sources, methods=["GET"]))
    # A page needs no cookie here: the write key in each request says who is calling.
    shared = Middleware(
        CORSMiddleware, allow_origins=list(origins), allow_methods=["GET", "POST"], allow_headers=["*"]
    )
    app = FastAPI(title="Lastaisle collector", lifespan=lifespan, openapi_url=None, redirect_slashes=False)
    app.mount("/v1", Mount("", routes=tracking, middleware=[shared]))
    app.add_route("/segment/webhook", collector.webhook, methods=["POST"])
    app.add_route("/healthz", collector.show_health, methods=["GET"])
    app.add_route("/metrics", collector.show_metrics, methods=["GET"])
    return app


class Collector:
    """Answer requests; the answer 200 says that every call of the request is durable.

    Only the calls of a request are stored. Addresses and credentials are neither stored nor logged.
    """

    def __init__(
        self, sink: Sink, credentials: Credentials, replays: Replays | None, limits: Limits, metrics: Metrics
    ) -> None:
        self.sink = sink
        self.credentials = credentials
        self.replays = replays
        self.limits = limits
        self.metrics = metrics
        self.health = Health(sink, credentials.write_keys)
        self._known = Places(limits.requests)
        self._unknown = Places(limits.unknown_requests)

    async def track(self, endpoint: str, request: Request) -> Response:
        """Take the calls of Segment's tracking API."""
        authorization = request.headers.get("authorization", "")
        key = basic_user(authorization)
        if authorization and not self.credentials.write_keys.knows(key):
            return self._refuse(_unauthorized("unknown write key"))
        places = self._known if authorization else self._unknown
        return await self._take(places, partial(self._handle_tracked, endpoint, key), request)

    async def webhook(self, request: Request) -> Response:
        """Take the calls that Segment's Webhooks destination forwards."""
        signature = request.headers.get("x-signature", "")
        if self.replays is None or not self.credentials.may_be_signed(signature):
            return self._refuse(_unauthorized("X-Signature is no HMAC-SHA1 in hexadecimal digits"))
        return await self._take(self._unknown, partial(self._handle_forwarded, self.replays), request)

    async def drop(self, request: Request) -> Response:
        """Accept measurements that Segment's browser client takes of itself, and keep nothing of them.

        They carry no write key, so the body is not even read.
        """
        self.metrics.dropped()
        return Response(_ACCEPTED, media_type="application/json")

    async def show_sources(self, request: Request) -> Response:
        """Tell Segment's browser and mobile clients what to load: only the collector itself."""
        key = request.path_params["key"]
        if not self.credentials.write_keys.knows(key):
            return self._refuse(_unauthorized("unknown write key"))
        settings = {
            "integrations": {"Segment.io": {"apiKey": key}},
            "plan": {name: {"__default": {"enabled": True}} for name in ("track", "identify", "group")},
        }
        return Response(orjson.dumps(settings), media_type="application/json")

    async def show_health(self, request: Request) -> Response:
        """Answer 200 if calls could be stored now, and else 503 with the reason."""
        if problem := await self.health.find_problem():
            content = {"success": False, "code": "unhealthy", "message": problem}
            return Response(orjson.dumps(content), 503, media_type="application/json")
        return PlainTextResponse("ok")

    async def show_metrics(self, request: Request) -> Response:
        """Show the metrics to callers with a write key or the secret."""
        if not self.credentials.may_read_metrics(basic_user(request.headers.get("authorization", ""))):
            return self._refuse(_unauthorized("give a write key as the user name of Basic authorization"))
        return Response(self.metrics.render(self.sink.waiting), media_type=MEDIA_TYPE)

    async def _take(self, places: Places, handle: _Handle, request: Request) -> Response:
        try:
            with places.take() as place:
                await handle(request, place)
        except RefusedError as refusal:
            return self._refuse(refusal)
        return Response(_ACCEPTED, media_type="application/json")

    async def _handle_tracked(self, endpoint: str, key: str, request: Request, place: Place) -> None:
        body = parse(await read_body(request, self.limits.body_bytes, place))
        if not key:
            given = body.get("writeKey") if isinstance(body, dict) else None
            if not isinstance(given, str) or not self.credentials.write_keys.knows(given):
                raise _unauthorized(
                    "give the write key as the user name of Basic authorization, or as writeKey"
                )
            key = given
        opts_out = request.headers.get("sec-gpc", "").strip() == "1"
        calls = calls_of_request(endpoint, body, datetime.now(UTC), self.limits.body_bytes, opts_out=opts_out)
        if opts_out:
            self.metrics.opted_out(len(calls))
        self.credentials.write_keys.spend(key, len(calls))
        await self._store(endpoint, calls)

    async def _handle_forwarded(self, replays: Replays, request: Request, place: Place) -> None:
        body = await read_body(request, self.limits.body_bytes, place)
        if not self.credentials.signed(body, request.headers.get("x-signature", "")):
            # Segment signs only the first call of a batch, so anybody could have added the other calls.
            hint = "; turn batching off in Segment's Webhooks destination" if body.startswith(b"[") else ""
            raise _unauthorized(f"X-Signature is not the HMAC-SHA1 of the body with the shared secret{hint}")
        content, now = parse(body), datetime.now(UTC)
        calls = calls_of_webhook(content, now, self.limits.body_bytes)
        replays.take(body, received_at(content), now)
        try:
            await self._store("webhook", calls)
        except BaseException:
            replays.give_back(body)
            raise

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
        headers = {"Retry-After": str(refusal.retry_after)} if refusal.retry_after else None
        content = {"success": False, "code": refusal.code, "message": str(refusal)}
        return Response(orjson.dumps(content), refusal.status, headers, "application/json")


def _unauthorized(message: str) -> RefusedError:
    return RefusedError(401, "unauthorized", message)
