"""The HTTP side of the service."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version as version_of
from importlib.resources import files
from typing import Final

from fastapi import FastAPI
from msgspec import UNSET
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from lastaisle.collect.health import Health
from lastaisle.serve.consents.body import Recorded
from lastaisle.serve.consents.honour import Honour
from lastaisle.serve.document import make_document
from lastaisle.serve.feedback import FeedbackStore
from lastaisle.serve.feedback_body import Stored, read_feedback
from lastaisle.serve.lists import make_lists
from lastaisle.serve.metrics import MEDIA_TYPE, Metrics
from lastaisle.serve.parts import Maker, Parts
from lastaisle.serve.questions import (
    Answer,
    Asked,
    Found,
    Refusal,
    Served,
    encode,
    wrong,
)
from lastaisle.serve.scoring import BATCH, Scorer
from lastaisle.serve.trials.assigned import Assigned
from lastaisle.web.body import read_body
from lastaisle.web.keys import given_key
from lastaisle.web.places import Places
from lastaisle.web.refusal import RETRY_AFTER_SECONDS, RefusedError

JSON: Final = "application/json"
HOT: Final = "/v1/recommendations"
"""The path that most requests ask."""
BATCH_SCORES: Final = 8_000_000
"""The most scores of a batch, which take four bytes each."""
STATE_SECONDS: Final = 1.0
FOUND: Final = 20
"""The most items that a search returns."""
_POLICY: Final = "lastaisle.policy"  # in the scope of a request
_PAGE: Final = {
    "": ("index.html", "text/html"),
    "page.js": ("page.js", "text/javascript"),
    "feedback.js": ("feedback.js", "text/javascript"),
    "page.css": ("page.css", "text/css"),
}
_PAGE_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """The limits that bound the service's memory and the time of an answer.

    Attributes:
        question_bytes: the largest body of a request for recommendations.
        feedback_bytes: the largest body of feedback.
        requests: the largest number of requests at the same time.
        waiting: the most requests that wait for the model.
        seconds: how long a request waits for the model.
    """

    question_bytes: int = 256 << 10
    feedback_bytes: int = 512 << 10
    requests: int = 1024
    waiting: int = 256
    seconds: float = 1.0


def create_app(
    parts: Parts, *, origins: Sequence[str] = (), limits: Limits | None = None, metrics: Metrics | None = None
) -> FastAPI:
    """Return the application.

    Args:
        parts: what it is made of; the application starts and stops the parts.
        origins: the origins of pages that may call from a browser; `*` allows all pages.
        limits: limits of memory and time; default `Limits()`.
        metrics: the counters; default new ones.
    """
    service = Service(parts, limits or Limits(), metrics or Metrics())
    app = _App(
        title="Lastaisle", lifespan=service.lifespan, openapi_url=None, redirect_slashes=False,
        exception_handlers={HTTPException: service.refuse_unknown},
    )  # fmt: skip
    open_paths: dict[str, _Handle] = {"/healthz": service.show_health, "/readyz": service.show_readiness}
    open_paths |= {f"/{name}": partial(_show_page, file, kind) for name, (file, kind) in _PAGE.items()}
    keyed: dict[str, tuple[str, _Handle]] = {
        HOT: ("POST", service.recommend),
        "/v1/feedback": ("POST", service.take_feedback),
        "/v1/consent": ("POST", service.take_decision),
        "/v1/model": ("GET", service.show_model),
        "/v1/items": ("GET", service.find_items),
        "/metrics": ("GET", service.show_metrics),
        "/openapi.json": ("GET", service.show_document),
    }
    for path, (method, handle) in keyed.items():
        app.add_route(path, service.answering(path, handle, keyed=True), methods=[method])
    for path, handle in open_paths.items():
        app.add_route(path, service.answering(path, handle, keyed=False), methods=["GET"])
    app.direct = {} if origins else {("POST", HOT): service.answering(HOT, service.recommend, keyed=True)}
    if origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=list(origins), allow_methods=["GET", "POST"], allow_headers=["*"]
        )
    return app


_Handle = Callable[[Request], Awaitable[Response]]


class _App(FastAPI):
    """Calls the handlers of some paths directly: FastAPI's own way there takes as long as all the rest.

    Attributes:
        direct: the handlers, by method and path.
    """

    direct: Mapping[tuple[str, str], _Handle] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        handle = self.direct.get((scope.get("method", ""), scope.get("path", "")))
        if handle is None:
            await super().__call__(scope, receive, send)
            return
        response = await handle(Request(scope, receive))
        await response(scope, receive, send)


class Service:
    """Answers requests. Keys, addresses and raw ids of shoppers are neither stored nor logged."""

    def __init__(self, parts: Parts, limits: Limits, metrics: Metrics) -> None:
        self.parts = parts
        self.limits = limits
        self.metrics = metrics
        self.honour = Honour(parts.consents, parts.refused_by_gpc)
        self.feedback = FeedbackStore(parts.sink, parts.pseudonyms, metrics, parts.trials, self.honour)
        self.health = Health(parts.sink, parts.keys)
        self.scorer = Scorer(
            self._answer_batch,
            room=self._room,
            waiting=limits.waiting,
            seconds=limits.seconds,
            count_batch=metrics.batch,
        )
        self._places = Places(limits.requests)
        self._document = encode(make_document(version_of("lastaisle")))
        self._feedback_problem = ""

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """Start the parts; stop them when all requests are answered."""
        parts = self.parts
        optional = (parts.shelf, parts.versions, parts.trials, parts.consents, parts.pseudonyms)
        following = [part for part in (*optional, *parts.listeners) if part is not None]
        for part in following:
            part.start()
        self.scorer.start()
        state = asyncio.create_task(self._note_state())
        yield
        state.cancel()
        await asyncio.to_thread(self.scorer.stop)
        for part in following:
            await asyncio.to_thread(part.stop)
        await asyncio.to_thread(parts.sink.close)

    def answering(self, path: str, handle: _Handle, *, keyed: bool) -> _Handle:
        """Return a handler that checks the key, answers refusals, and counts."""

        async def answer(request: Request) -> Response:
            began = time.perf_counter()
            status = 500
            try:
                if keyed:
                    self._check_key(request)
                response = await handle(request)
                status = response.status_code
            except RefusedError as refusal:
                response = self._refuse(refusal)
                status = refusal.status
            finally:
                policy = request.scope.get(_POLICY, "")
                self.metrics.answered(path, status, policy, time.perf_counter() - began)
            return response

        return answer

    async def recommend(self, request: Request) -> Response:
        """Recommend items."""
        began, status = time.perf_counter(), 500
        question: Asked | None = None
        try:
            with self._places.take() as place:
                body = await read_body(request, self.limits.question_bytes, place)
                question = self.honour.question(body, request.scope["headers"], self.parts.pseudonyms.of)
                if self.parts.versions.current is None or not self.honour.is_ready:
                    raise _unready()
                if self.parts.trials is not None:
                    question.assigned = self.parts.trials.assign(question, self.metrics.unready)
                answer = await self.scorer.ask(question)
            status = 200
        except RefusedError as refusal:
            status = refusal.status
            raise
        finally:
            if status >= 500:
                self._tell_failure(status, began, question.assigned if question else None)
        if question.failed is not None:
            self._tell_failure(500, began, question.failed)
        self._tell_answer(question, answer, began)
        request.scope[_POLICY] = answer.policy
        return Response(encode(answer), media_type=JSON)

    def _tell_answer(self, question: Asked, answer: Answer, began: float) -> None:
        if question.withheld is not None:
            answer.not_personalized = question.withheld
            self.metrics.not_personalized(question.withheld)
        if answer.experiment is not UNSET and answer.arm is not UNSET:
            self.metrics.trial_list(answer.experiment, answer.arm)
        for listener in self.parts.listeners:
            listener.answered(question, answer, time.perf_counter() - began)

    def _tell_failure(self, status: int, began: float, assigned: Assigned | None) -> None:
        served = (assigned.served if assigned else None) or self.parts.versions.current
        model, version = (served.name, served.version) if served else ("", "")
        experiment, arm = (assigned.label.experiment, assigned.label.arm) if assigned else (None, None)
        if experiment is not None and arm is not None:
            self.metrics.trial_failure(experiment, arm)
        for listener in self.parts.listeners:
            listener.failed(status, time.perf_counter() - began, Maker(model, version, experiment, arm))

    async def take_feedback(self, request: Request) -> Response:
        """Keep feedback."""
        with self._places.take() as place:
            body = await read_body(request, self.limits.feedback_bytes, place)
            stored = await self.feedback.store(read_feedback(body), request.scope["headers"])
        return Response(encode(Stored(stored)), media_type=JSON)

    async def take_decision(self, request: Request) -> Response:
        """Record what a shopper decided about purposes."""
        with self._places.take() as place:
            body = await read_body(request, self.limits.question_bytes, place)
            decisions = await self.honour.record(body, self.parts.pseudonyms.held())
        for decision in decisions:
            self.metrics.decision(decision.purpose, granted=decision.granted)
        return Response(encode(Recorded(len(decisions))), media_type=JSON)

    async def show_model(self, request: Request) -> Response:
        """Show the version that answers."""
        served = self.parts.versions.current
        if served is None:
            raise _unready(self.parts.versions.problem)
        self._feedback_problem = await self.health.find_problem()
        shelf, model = self.parts.shelf, served.model
        shown = Served(
            model=served.name,
            version=served.version,
            run_id=served.run_id,
            alias=served.alias,
            digest=served.digest,
            since=served.since,
            items=len(model.items) - 1,
            columns=dict(model.columns),
            exclude_seen=model.exclude_seen,
            catalogue=bool(shelf and shelf.has_catalogue),
            problems=self._problems(),
        )
        return Response(encode(shown), media_type=JSON)

    async def find_items(self, request: Request) -> Response:
        """Find items by their titles."""
        text = request.query_params.get("search", "")
        if not 1 <= len(text) <= 200:
            raise wrong(f"search should have 1 to 200 characters, received {len(text)}")
        shelf, served = self.parts.shelf, self.parts.versions.current
        if served is None:
            raise _unready()
        found = await asyncio.to_thread(shelf.of(served.model).search, text, FOUND) if shelf else []
        return Response(encode([Found(item, title or item) for item, title in found]), media_type=JSON)

    async def show_metrics(self, request: Request) -> Response:
        """Show the metrics."""
        self._set_state()
        return Response(await asyncio.to_thread(self.metrics.render), media_type=MEDIA_TYPE)

    async def show_document(self, request: Request) -> Response:
        """Show the OpenAPI document."""
        return Response(self._document, media_type=JSON)

    async def show_health(self, request: Request) -> Response:
        """Answer 200 while this process works; a process that answers otherwise should be restarted."""
        if not self.scorer.is_alive:
            raise RefusedError(503, "unhealthy", "the process should be restarted")
        return Response("ok", media_type="text/plain")

    async def show_readiness(self, request: Request) -> Response:
        """Answer 200 while requests can be answered; `/v1/model` says why they cannot."""
        shelf = self.parts.shelf
        has_parts = self.parts.versions.current is not None and self.honour.is_ready
        if not has_parts or not self.scorer.is_alive or (shelf and not shelf.ready):
            raise _unready()
        return Response("ok", media_type="text/plain")

    async def refuse_unknown(self, request: Request, error: HTTPException) -> Response:
        """Answer 404 and 405 in the form of all refusals."""
        code = {404: "not_found", 405: "wrong_method"}.get(error.status_code, "refused")
        refusal = Refusal(code, f"{error.detail}: /openapi.json lists the paths")
        return Response(encode(refusal), error.status_code, error.headers, JSON)

    def _answer_batch(self, questions: Sequence[Asked]) -> list[Answer | RefusedError]:
        served = self.parts.versions.current
        if served is None:
            return [_unready()] * len(questions)
        outcomes = make_lists(served, self.parts.shelf, questions)
        for outcome in outcomes:
            if isinstance(outcome, Answer):
                for reason in {item.reason for item in outcome.items}:
                    self.metrics.slots(reason, sum(item.reason == reason for item in outcome.items))
        return outcomes

    def _room(self) -> int:
        served = self.parts.versions.current
        return BATCH if served is None else max(1, min(BATCH, BATCH_SCORES // len(served.model.items)))

    def _check_key(self, request: Request) -> None:
        if not self.parts.keys.knows(given_key(request.scope["headers"])):
            raise RefusedError(
                401, "unauthorized", "give a known key as `Authorization: Bearer KEY`, or as X-API-Key"
            )

    def _refuse(self, refusal: RefusedError) -> Response:
        self.metrics.refused(refusal.code)
        headers = {"Retry-After": str(refusal.retry_after)} if refusal.retry_after else {}
        if refusal.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return Response(encode(Refusal(refusal.code, str(refusal))), refusal.status, headers, JSON)

    def _problems(self) -> list[str]:
        parts, shelf = self.parts, self.parts.shelf
        found = [parts.versions.problem, parts.pseudonyms.problem, self._feedback_problem]
        found += [
            part.problem
            for part in (*parts.listeners, parts.trials, parts.consents, shelf)
            if part is not None
        ]
        return [problem for problem in dict.fromkeys(found) if problem]

    def _set_state(self) -> None:
        served, shelf, parts = self.parts.versions.current, self.parts.shelf, self.parts
        self.metrics.state(
            queue=self.scorer.waiting,
            problems=len(self._problems()),
            served=(served.name, served.version) if served else None,
            poll_age=self.parts.versions.age_seconds,
            catalogue_age=shelf.age_seconds if shelf else None,
            traffic_age=parts.trials.age_seconds if parts.trials else None,
            consents_age=parts.consents.age_seconds if parts.consents else None,
        )

    async def _note_state(self) -> None:
        """Keep the gauges of this worker true, whichever worker is asked for the metrics."""
        while True:
            self._set_state()
            await asyncio.sleep(STATE_SECONDS)


async def _show_page(file: str, kind: str, request: Request) -> Response:
    """Show a file of the page for people. It holds nothing of the shop, so it asks for no key."""
    content = files("lastaisle.serve").joinpath("page", file).read_bytes()
    return Response(content, headers=_PAGE_HEADERS, media_type=kind)


def _unready(why: str = "") -> RefusedError:
    message = (
        "no version is loaded yet, or it is not known yet what is for sale or who refuses personal lists; "
        "/v1/model says why"
    )
    return RefusedError(503, "unready", why or message, RETRY_AFTER_SECONDS)
