"""Send signed webhooks."""

from __future__ import annotations

import time
from collections.abc import Sequence

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
