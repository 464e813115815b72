"""PagerDuty's Events API, version 2, and the services that take the same."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from datetime import UTC
from functools import partial
from typing import Any, Final

from lastaisle.delivery.notice import Notice, digest_of, is_address, one_line, shortened
from lastaisle.delivery.post import post
from lastaisle.delivery.sent import Sent

EVENTS: Final = "https://events.pagerduty.com"
"""Where events go; accounts of the EU use https://events.eu.pagerduty.com."""

_SUMMARY: Final = 1024  # characters; the limits of PagerDuty
_KEY: Final = 255
_DETAILS: Final = 100_000  # bytes; PagerDuty takes 512 KB in all
_MEANINGS: Final = {
    400: "it does not take this event, or the routing key is wrong",
    403: "this routing key may send no events",
    404: "there is no such service: see base_url",
}


def pagerduty(key: str, base_url: str = EVENTS) -> Callable[[Notice], Sent]:
    """Return the function that sends a notice to a service of PagerDuty.

    Args:
        key: the routing key (integration key) of the service.
        base_url: where the Events API is.
    """
    return partial(_send, key=key, base_url=base_url)


def event_of(notice: Notice, action: str) -> dict[str, Any]:
    """Return an event, without the routing key.

    Args:
        notice: the notice.
        action: trigger or resolve. An alert that is triggered again under its key stays one incident.
    """
    key = notice.key if len(notice.key) <= _KEY else digest_of(notice.key)
    event: dict[str, Any] = {"event_action": action, "dedup_key": key}
    if action == "resolve":
        return event
    details: dict[str, Any] = {"text": notice.body, "rule": notice.rule, **notice.data}
    if len(json.dumps(details, default=str)) > _DETAILS:
        details = {"text": notice.body, "rule": notice.rule, "left_out": "the details are too long"}
    details |= {name: page for name, page in notice.links if not is_address(page)}
    return event | {
        "client": "Lastaisle",
        "payload": {
            "summary": shortened(notice.line, _SUMMARY),
            "source": socket.gethostname() or "lastaisle",
            "severity": notice.severity,  # PagerDuty has the same three names, and `error`
            "timestamp": notice.at.astimezone(UTC).isoformat(),
            "component": "lastaisle",
            "group": notice.group,
            "class": notice.rule,
            "custom_details": details,
        },
        "links": [
            {"href": address, "text": one_line(name)} for name, address in notice.links if is_address(address)
        ],
    }


def _send(notice: Notice, key: str, base_url: str) -> Sent:
    if notice.kind != "test":
        return _post(event_of(notice, "resolve" if notice.kind == "resolved" else "trigger"), key, base_url)
    sent = _post(event_of(notice, "trigger"), key, base_url)
    # A test leaves no open incident behind.
    return sent if sent.problem else _post(event_of(notice, "resolve"), key, base_url)


def _post(event: dict[str, Any], key: str, base_url: str) -> Sent:
    body = json.dumps({"routing_key": key, **event}, default=str).encode()
    return post(f"{base_url.rstrip('/')}/v2/enqueue", {}, body, _MEANINGS)
