"""Signed webhooks: any service that can verify Standard Webhooks."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC
from functools import partial

from lastaisle.delivery.notice import Notice
from lastaisle.delivery.post import post
from lastaisle.delivery.sent import Sent
from lastaisle.delivery.signature import headers_of


def post_signed(message_id: str, body: bytes, address: str, keys: Sequence[bytes]) -> Sent:
    """Send a body with the signature of each key.

    Args:
        message_id: the id of the message, the same at each try.
        body: the body, the same bytes at each try.
        address: the address.
        keys: the keys that sign.
    """
    return post(address, headers_of(message_id, body, keys, int(time.time())), body)


def webhook(address: str, keys: Sequence[bytes]) -> Callable[[Notice], Sent]:
    """Return the function that sends a notice to an address, signed by each key."""
    return partial(_send, address=address, keys=keys)


def body_of(notice: Notice) -> bytes:
    """Return the body, the same bytes at each try."""
    data = {
        **notice.data,
        "severity": notice.severity,
        "rule": notice.rule,
        "title": notice.title,
        "text": notice.text,
        "links": [{"name": name, "address": address} for name, address in notice.links],
        "group": notice.group,
        "dedup_key": notice.key,
    }
    at = notice.at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    message = {"id": notice.id, "type": notice.type, "timestamp": at, "data": data}
    return json.dumps(message, default=str).encode()


def _send(notice: Notice, address: str, keys: Sequence[bytes]) -> Sent:
    return post_signed(notice.id, body_of(notice), address, keys)
