"""The table `subject_requests`: each step of a request of shoppers, from asked to done.

A request is a chain of states: asked, working, and then done, failed or refused. A failed request may be
tried again. Each step is a row, which is decided on one version of the table and written only if the table
still has this version. So two processes never end one request twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import pyarrow as pa

from lastaisle.lake.errors import LakeConflictError
from lastaisle.lake.lake import Lake
from lastaisle.lake.reader import LakeReader
from lastaisle.lake.retries import ATTEMPTS, retry_overtaken
from lastaisle.lake.tables import SUBJECT_REQUESTS, SUBJECT_REQUESTS_SCHEMA
from lastaisle.rights.inbox import Inbox, RequestError, Waiting

State = Literal["asked", "working", "done", "failed", "refused"]
ASKED: Final = "asked"
WORKING: Final = "working"
DONE: Final = "done"
FAILED: Final = "failed"
REFUSED: Final = "refused"
#: The states that may follow each state. None is the state of a request without a row.
FOLLOWING: Final[Mapping[str | None, frozenset[str]]] = {
    None: frozenset({ASKED}),
    ASKED: frozenset({WORKING, REFUSED}),
    WORKING: frozenset({WORKING, DONE, FAILED}),
    FAILED: frozenset({WORKING, REFUSED}),
    DONE: frozenset(),
    REFUSED: frozenset(),
}
ENDED: Final = frozenset({DONE, REFUSED})
_STEPS: Final = "steps"  # the key under which the table's log numbers its commits


@dataclass(frozen=True)
class Step:
    """A row of the table; see SUBJECT_REQUESTS_SCHEMA."""

    request_id: str
    kind: str
    state: str
    at: datetime
    actor: str
    subjects: int
    due_at: datetime
    counts: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""
    receipt: Mapping[str, Any] | None = None
    entry: int = -1


@dataclass(frozen=True)
class Request:
    """A request, as its steps tell it.

    Attributes:
        steps: the steps, the oldest first.
    """

    steps: tuple[Step, ...]

    @property
    def first(self) -> Step:
        """The step in which the request was asked."""
        return self.steps[0]

    @property
    def last(self) -> Step:
        """The newest step."""
        return self.steps[-1]

    @property
    def request_id(self) -> str:
        """Its id."""
        return self.first.request_id

    @property
    def is_open(self) -> bool:
        """Whether the shopper still waits."""
        return self.last.state not in ENDED

    def age(self, now: datetime) -> timedelta:
        """Return how long the shopper waits or waited."""
        return (now if self.is_open else self.last.at) - self.first.at

    def to_dict(self, now: datetime) -> dict[str, Any]:
        """Return as JSON takes it."""
        return {
            "request_id": self.request_id,
            "kind": self.first.kind,
            "state": self.last.state,
            "subjects": self.first.subjects,
            "asked_at": self.first.at,
            "actor": self.first.actor,
            "due_at": self.first.due_at,
            "hours": round(self.age(now) / timedelta(hours=1), 1),
            "counts": dict(self.last.counts),
            "problem": self.last.problem,
            "receipt": self.last.receipt,
        }


def read_requests(lake: LakeReader) -> list[Request]:
    """Return all requests, the oldest first."""
    return _requests_of(_steps(lake, lake.version(SUBJECT_REQUESTS)))


def find_request(lake: LakeReader, request_id: str) -> Request:
    """Return a request.

    Raises:
        RequestError: there is no such request.
    """
    for request in read_requests(lake):
        if request.request_id == request_id:
            return request
    raise RequestError(
        f"there is no request {request_id[:40]!r} in {lake.url}: `lastaisle subjects list --all` names all"
    )


def register(lake: Lake, waiting: Waiting, days: int) -> Request:
    """Write the first step of a request of the inbox, once; return the request.

    Args:
        lake: holds the table.
        waiting: the request in the inbox.
        days: the request is due so many days after it was asked.
    """

    def decide(request: Request | None) -> Step | None:
        if request is not None:
            return None
        due = waiting.at + timedelta(days=days)
        given = (
            waiting.request_id,
            waiting.kind,
            ASKED,
            waiting.at,
            waiting.actor,
            len(waiting.user_ids),
            due,
        )
        return Step(*given)

    _commit(lake, waiting.request_id, decide)
    return find_request(lake, waiting.request_id)


def advance(
    lake: Lake,
    request_id: str,
    state: State,
    *,
    actor: str,
    counts: Mapping[str, Any] | None = None,
    problem: str = "",
    receipt: Mapping[str, Any] | None = None,
    now: datetime | None = None,
) -> None:
    """Write the next step of a request.

    Args:
        lake: holds the table.
        request_id: the request.
        state: its next state.
        actor: who does the step.
        counts: what was done, as JSON takes it, without any id.
        problem: why it failed or was refused.
        receipt: the signed receipt of a request that is done.
        now: the moment; the present by default.

    Raises:
        RequestError: there is no such request, or its state allows no such step.
        LakeConflictError: other writers won every attempt.
    """

    def decide(request: Request | None) -> Step:
        held = None if request is None else request.last.state
        if request is None or state not in FOLLOWING[held]:
            raise RequestError(
                f"request {request_id} is {held or 'not known'}, so it cannot become {state}; "
                f"`lastaisle subjects show {request_id}` tells its steps"
            )
        first = request.first
        return Step(
            *(request_id, first.kind, state, now or datetime.now(UTC), actor, first.subjects, first.due_at),
            counts=counts or {},
            problem=problem,
            receipt=receipt,
        )

    _commit(lake, request_id, decide)


def repair(lake: Lake, inbox: Inbox, days: int) -> list[str]:
    """Bring inbox and table together after a kill; return a sentence for each request that was repaired.

    A request in the inbox without a row gets its row. The ids of a request that has ended are deleted.
    """
    told = []
    known = {request.request_id: request for request in read_requests(lake)}
    for name in inbox.names():
        request = known.get(name)
        if request is None:
            waiting = inbox.waiting(name)
            if waiting.lake != inbox.lake_url:  # another lake has its row
                continue
            register(lake, waiting, days)
            told.append(f"request {name} was in the inbox alone, and has its row now")
        elif not request.is_open:
            inbox.finish(name)
            told.append(f"request {name} had ended, and its ids are deleted now")
    return told


def _commit(lake: Lake, request_id: str, decide: Callable[[Request | None], Step | None]) -> None:
    """Decide on a step by the table, and write it; decide again if another writer was faster."""

    def attempt() -> None:
        version = lake.version(SUBJECT_REQUESTS)
        steps = _steps(lake, version)
        own = tuple(step for step in steps if step.request_id == request_id)
        step = decide(Request(own) if own else None)
        if step is None:
            return
        entry = 1 + max((each.entry for each in steps), default=-1)
        written = lake.append(
            SUBJECT_REQUESTS,
            pa.Table.from_pylist([_row_of(step, entry)], schema=SUBJECT_REQUESTS_SCHEMA),
            key=_STEPS,
            stamp=entry + 1,
            is_numbered=True,
            if_version=-1 if version is None else version,
        )
        if not written:  # another writer gave its commit this number
            raise LakeConflictError(f"table {SUBJECT_REQUESTS} of {lake.url} is no longer at {version}")

    lost = f"other writers won {ATTEMPTS} attempts to write into {SUBJECT_REQUESTS} of {lake.url}; run again"
    retry_overtaken(lost, LakeConflictError)(attempt)


def _steps(lake: LakeReader, version: int | None) -> list[Step]:
    if version is None:
        return []
    rows = sorted(lake.scan(SUBJECT_REQUESTS, version=version).to_pylist(), key=lambda row: int(row["entry"]))
    return [
        Step(
            **{**row, "actor": row["actor"] or "", "problem": row["problem"] or ""}
            | {"counts": json.loads(row["counts"] or "{}")}
            | {"receipt": json.loads(row["receipt"]) if row["receipt"] else None}
        )
        for row in rows
    ]


def _requests_of(steps: Sequence[Step]) -> list[Request]:
    by_id: dict[str, list[Step]] = {}
    for step in steps:
        by_id.setdefault(step.request_id, []).append(step)
    return [Request(tuple(own)) for own in by_id.values()]


def _row_of(step: Step, entry: int) -> dict[str, Any]:
    return {
        "entry": entry,
        "request_id": step.request_id,
        "kind": step.kind,
        "state": step.state,
        "at": step.at.astimezone(UTC),
        "actor": step.actor,
        "subjects": step.subjects,
        "due_at": step.due_at.astimezone(UTC),
        "counts": json.dumps(dict(step.counts), default=str),
        "problem": step.problem,
        "receipt": None if step.receipt is None else json.dumps(dict(step.receipt)),
    }
