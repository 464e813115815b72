"""Sign messages in the format of Standard Webhooks (https://www.standardwebhooks.com), version 1."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence


def headers_of(message_id: str, body: bytes, keys: Sequence[bytes], timestamp: int) -> dict[str, str]:
    """Return the three headers of a signed message.

    Args:
        message_id: the id of the message, the same at each try.
        body: the body as it is sent.
        keys: the keys; each gives one signature, and receivers accept any of them.
        timestamp: the moment of this try, in seconds since 1970 (UTC).
    """
    signed = f"{message_id}.{timestamp}.".encode() + body
    digests = (hmac.digest(key, signed, hashlib.sha256) for key in keys)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests),
    }
