"""Turn requests into calls, as Segment itself stores calls: one line of JSON for each call."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import uuid4

import orjson

from lastaisle.collect.refusal import RefusedError

KINDS = ("track", "page", "identify", "screen", "group", "alias")
BATCHES = ("batch", "import")
# A batch's shared fields are copied into each call: all calls together may have this many times the limit.
EXPANSION = 16


class Call(NamedTuple):
    """One call.

    Attributes:
        user: bytes that are the same for all calls of one user.
        line: the call as JSON, with a line feed at its end.
    """

    user: bytes
    line: bytes


def calls_of_request(endpoint: str, body: Any, received: datetime, limit: int) -> list[Call]:
    """Complete the calls of a request to the tracking API.

    The calls get the fields that Segment would give them. The context, integrations and sentAt of a batch
    apply to each call of the batch, unless the call has its own. `timestamp` is corrected by the error of the
    sender's clock, `originalTimestamp` keeps the time that was sent, and `receivedAt` is `received`. Unlike
    Segment, the collector drops the sender's IP address. The data contract checks the content of the calls
    later: the collector only stores them.

    Args:
        endpoint: one of KINDS or BATCHES.
        body: the request's body, parsed.
        received: when the request arrived, in UTC.
        limit: the largest size of a body, in bytes.

    Raises:
        RefusedError: 400, the body holds no calls; 413, the calls together are too large.
    """
    if not isinstance(body, dict):
        raise RefusedError(400, "not_an_object", f"the body should be a JSON object, received {_kind(body)}")
    if endpoint in BATCHES:
        calls = _objects(body.get("batch"), '"batch"')
        shared = {name: body.get(name) for name in ("context", "integrations", "sentAt")}
    else:
        calls = [{**body, "type": endpoint}]
        shared = {}
    stamp = _text(received)
    for call in calls:
        _share(call, shared)
        call["receivedAt"] = stamp
        sent = _time(call.get("sentAt"))
        _correct(call, received - sent if sent else timedelta(0), stamp)
    return _lines(calls, limit)


def calls_of_webhook(body: Any, received: datetime, limit: int) -> list[Call]:
    """Read the calls that Segment forwards, one call or a list, and add `receivedAt` where it is missing.

    Raises:
        RefusedError: as `calls_of_request` does.
    """
    calls = _objects(body if isinstance(body, list) else [body], "the body")
    for call in calls:
        call.setdefault("receivedAt", _text(received))
    return _lines(calls, limit)


def _objects(calls: Any, where: str) -> list[dict[str, Any]]:
    if not isinstance(calls, list):
        raise RefusedError(400, "no_calls", f"{where} should be a list of calls, received {_kind(calls)}")
    for position, call in enumerate(calls):
        if not isinstance(call, dict):
            raise RefusedError(
                400, "no_calls", f"call {position} of {where} should be an object, received {_kind(call)}"
            )
    return [dict(call) for call in calls]


def _share(call: dict[str, Any], shared: Mapping[str, Any]) -> None:
    """Copy the shared fields of a batch into a call; the call's own values win."""
    for name in ("context", "integrations"):
        common, own = shared.get(name), call.get(name)
        if isinstance(common, dict) and isinstance(own, dict | None):
            call[name] = {**common, **(own or {})}
    if shared.get("sentAt") is not None:
        call.setdefault("sentAt", shared["sentAt"])


def _correct(call: dict[str, Any], late: timedelta, received: str) -> None:
    """Correct a call's time by the error of the sender's clock, which is receivedAt - sentAt.

    An unreadable time stays as it is: the data contract refuses it later.
    """
    sent = call.get("timestamp")
    if sent is None:
        call["timestamp"] = call.get("originalTimestamp") or received
    elif call.get("originalTimestamp") is None:
        call["originalTimestamp"] = sent
        if moment := _time(sent):
            with suppress(OverflowError):
                call["timestamp"] = _text(moment + late)


def _lines(calls: list[dict[str, Any]], limit: int) -> list[Call]:
    lines = []
    room = EXPANSION * limit
    for call in calls:
        call.pop("writeKey", None)
        context = call.get("context")
        if isinstance(context, dict) and "ip" in context:
            call["context"] = {name: value for name, value in context.items() if name != "ip"}
        if not call.get("messageId"):
            call["messageId"] = _made_id(call)
        user = call.get("userId") or call.get("anonymousId") or call["messageId"]
        line = orjson.dumps(call, option=orjson.OPT_APPEND_NEWLINE)
        room -= len(line)
        if room < 0:
            raise RefusedError(
                413,
                "too_large",
                "the calls are too large once the shared fields of their batch are copied into each",
            )
        lines.append(Call(str(user).encode(), line))
    return lines


def _made_id(call: Mapping[str, Any]) -> str:
    """Return an id for a call without an id; a call with a time gets the same id when it is sent again."""
    if call.get("originalTimestamp") is None:
        return f"made-{uuid4()}"
    moving = ("receivedAt", "sentAt", "timestamp")
    fixed = {name: value for name, value in call.items() if name not in moving}
    return f"made-{hashlib.sha256(orjson.dumps(fixed, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]}"


def _time(text: Any) -> datetime | None:
    """Read an ISO 8601 time; return None if the text is no time or has no zone."""
    try:
        moment = datetime.fromisoformat(text)
    except (ValueError, TypeError):
        return None
    return moment if moment.tzinfo else None


def _text(moment: datetime) -> str:
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def _kind(value: Any) -> str:
    return {"dict": "an object", "list": "a list", "str": "text", "NoneType": "nothing"}.get(
        type(value).__name__, type(value).__name__
    )
