"""Turn requests into calls, as Segment itself stores calls: one line of JSON for each call."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from copy import copy
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import uuid4

from lastaisle.web.json_text import drop, encode, values_of
from lastaisle.web.refusal import RefusedError

KINDS = ("track", "page", "identify", "screen", "group", "alias")
BATCHES = ("batch", "import")
# A batch's shared fields are copied into each call: all calls together may have this many times the limit.
EXPANSION: Final = 16
OPT_OUT: Final = "globalPrivacyControl"
"""The name of Global Privacy Control in a call; ingestion reads it."""
LINE_BYTES: Final = 1 << 20
"""The largest call in bytes; ingestion reads no longer lines."""


class Call(NamedTuple):
    """One call.

    Attributes:
        user: bytes that are the same for all calls of one user.
        line: the call as JSON, with a line feed at its end.
    """

    user: bytes
    line: bytes


def calls_of_request(
    endpoint: str, body: Any, received: datetime, limit: int, *, opts_out: bool = False
) -> list[Call]:
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
        opts_out: whether the browser sent Sec-GPC: 1 (Global Privacy Control). Then each call says so,
            and ingestion honours it.

    Raises:
        RefusedError: 400, the body holds no calls; 413, the calls together are too large.
    """
    if not isinstance(body, dict):
        raise RefusedError(400, "not_an_object", f"the body should be a JSON object, received {_kind(body)}")
    if endpoint in BATCHES:
        calls = _objects(body.get("batch"), '"batch"')
        shared = {name: body.get(name) for name in ("context", "integrations", "sentAt")}
    else:
        calls = [copy(body)]
        calls[0]["type"] = endpoint
        shared = {}
    stamp = _text(received)
    for call in calls:
        _share(call, shared)
        call["receivedAt"] = stamp
        sent = _time(call.get("sentAt"))
        _correct(call, received - sent if sent else timedelta(0), stamp)
        if opts_out:
            call[OPT_OUT] = True  # not in the context, which may be a text
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
    return [copy(call) for call in calls]


def _share(call: dict[str, Any], shared: Mapping[str, Any]) -> None:
    """Copy the shared fields of a batch into a call; the call's own values win."""
    for name in ("context", "integrations"):
        common, own = shared.get(name), call.get(name)
        if not isinstance(common, dict) or not isinstance(own, dict | None):
            continue
        call[name] = copy(common if own is None else own)
        for key, value in common.items():
            call[name].setdefault(key, value)
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
        drop(call, "writeKey")
        for context in values_of(call, "context"):
            if isinstance(context, dict):
                drop(context, "ip")
        if not call.get("messageId"):
            call["messageId"] = _made_id(call)
        user = call.get("userId") or call.get("anonymousId") or call["messageId"]
        line = encode(call) + b"\n"
        if len(line) > LINE_BYTES:
            raise RefusedError(413, "too_large", f"send at most {LINE_BYTES:,} bytes a call")
        room -= len(line)
        if room < 0:
            raise RefusedError(
                413,
                "too_large",
                "the calls are too large once the shared fields of their batch are copied into each",
            )
        lines.append(Call(user.encode("utf-8", "replace") if isinstance(user, str) else encode(user), line))
    return lines


def _made_id(call: Mapping[str, Any]) -> str:
    """Return an id for a call without an id; a call with a time gets the same id when it is sent again."""
    if call.get("originalTimestamp") is None:
        return f"made-{uuid4()}"
    moving = ("receivedAt", "sentAt", "timestamp")
    fixed = {name: value for name, value in call.items() if name not in moving}
    return f"made-{hashlib.sha256(encode(fixed, sort_keys=True)).hexdigest()[:32]}"


def received_at(body: Any) -> datetime | None:
    """Return when Segment received the oldest call that it forwards; None if a call does not say so."""
    calls = body if isinstance(body, list) else [body]
    times = [_time(call.get("receivedAt")) if isinstance(call, dict) else None for call in calls]
    known = [moment for moment in times if moment]
    return min(known) if known and len(known) == len(times) else None


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
