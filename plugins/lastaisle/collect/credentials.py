"""Check the sender of a request: a client with a write key, or Segment, which signs with a shared secret."""

from __future__ import annotations

import base64
import hmac
from dataclasses import dataclass, field
from pathlib import Path

from lastaisle.collect.write_keys import WriteKeys
from lastaisle.settings import Settings, SettingsError

SIGNATURE_LENGTH = 40


@dataclass(frozen=True)
class Credentials:
    """The keys that callers are checked against; a comparison takes the same time for right and wrong keys.

    Attributes:
        write_keys: the keys that may send; without write keys, the tracking API is closed.
        secret: the secret with which Segment signs; if it is empty, the webhook is closed.
    """

    write_keys: WriteKeys = field(repr=False)
    secret: str = field(default="", repr=False)

    @classmethod
    def from_settings(cls, settings: Settings) -> Credentials:
        """Read the credentials from the settings.

        Raises:
            SettingsError: there are none, so the collector could not check who is calling; or the file of
                write keys cannot be read.
        """
        given = settings.collector
        listed = given.segment_write_keys.get_secret_value()
        keys = tuple(key.strip() for key in listed.split(",") if key.strip())
        file = Path(given.segment_key_file) if given.segment_key_file else None
        write_keys = WriteKeys(keys, file, given.segment_quota)
        secret = given.segment_secret.get_secret_value().strip()
        if not write_keys.has_any() and not secret:
            raise SettingsError(
                "the collector has to know who is calling: set LASTAISLE_SEGMENT_WRITE_KEYS (keys that may "
                "send to /v1, separated by commas) or LASTAISLE_SEGMENT_KEY_FILE (a file of such "
                "keys), LASTAISLE_SEGMENT_SECRET (the secret with which Segment signs /segment/webhook), or "
                "both"
            )
        return cls(write_keys, secret)

    def may_read_metrics(self, key: str) -> bool:
        """Return whether a key may read the metrics: a write key or the secret."""
        given = key.encode("utf-8", "surrogatepass")
        secret = bool(self.secret) and hmac.compare_digest(given, self.secret.encode())
        return self.write_keys.knows(key) or secret

    def may_be_signed(self, signature: str) -> bool:
        """Return whether a signature could be one, before the signed body is known."""
        return bool(self.secret) and len(signature.strip()) == SIGNATURE_LENGTH

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
    except ValueError:  # no ASCII, no Base64, or no UTF-8
        return ""
