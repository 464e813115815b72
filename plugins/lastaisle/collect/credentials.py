"""Check the sender of a request: a client with a write key, or Segment, which signs with a shared secret."""

from __future__ import annotations

import base64
import binascii
import hmac
from dataclasses import dataclass, field

from lastaisle.settings import Settings, SettingsError


@dataclass(frozen=True)
class Credentials:
    """The keys that callers are checked against; a comparison takes the same time for right and wrong keys.

    Attributes:
        write_keys: the keys that may send; without write keys, the tracking API is closed.
        secret: the secret with which Segment signs; if it is empty, the webhook is closed.
    """

    write_keys: tuple[str, ...] = field(default=(), repr=False)
    secret: str = field(default="", repr=False)

    @classmethod
    def from_settings(cls, settings: Settings) -> Credentials:
        """Read the credentials from LASTAISLE_SEGMENT_WRITE_KEYS and LASTAISLE_SEGMENT_SECRET.

        Raises:
            SettingsError: neither variable is set, so the collector could not check who is calling.
        """
        listed = settings.collector.segment_write_keys.get_secret_value()
        keys = tuple(key.strip() for key in listed.split(",") if key.strip())
        secret = settings.collector.segment_secret.get_secret_value().strip()
        if not keys and not secret:
            raise SettingsError(
                "the collector has to know who is calling: set LASTAISLE_SEGMENT_WRITE_KEYS (keys that may "
                "send to /v1, separated by commas), LASTAISLE_SEGMENT_SECRET (the secret with which Segment "
                "signs /segment/webhook), or both"
            )
        return cls(keys, secret)

    def is_write_key(self, key: str) -> bool:
        """Return whether a key is a write key."""
        return sum(hmac.compare_digest(key.encode(), known.encode()) for known in self.write_keys) > 0

    def may_read_metrics(self, key: str) -> bool:
        """Return whether a key may read the metrics: a write key or the secret."""
        secret = bool(self.secret) and hmac.compare_digest(key.encode(), self.secret.encode())
        return self.is_write_key(key) or secret

    def signed(self, body: bytes, signature: str) -> bool:
        """Return whether a signature is the hex HMAC-SHA1 of a body, as Segment's Webhooks send it."""
        if not self.secret:
            return False
        expected = hmac.new(self.secret.encode(), body, "sha1").hexdigest()
        return hmac.compare_digest(expected.encode(), signature.strip().lower().encode())


def basic_user(authorization: str) -> str:
    """Return the user name of a Basic authorization header, where Segment's clients put the write key.

    Returns:
        The name; empty if the header is of another kind, or damaged.
    """
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(encoded.strip(), validate=True).decode().partition(":")[0]
    except (binascii.Error, UnicodeDecodeError):
        return ""
