"""The settings of announcements: which services hear of a release, and how they know the sender."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationInfo, field_validator

from lastaisle.settings.fields import Section, setting

#: Machines to which an announcement may go without encryption: this machine alone.
_THIS_MACHINE: Final = ("127.0.0.1", "::1", "localhost")
_SECRET_PREFIX: Final = "whsec_"  # of the Standard Webhooks format; it is no secret itself


class AnnouncementSettings(Section):
    """Announcements: which services hear of a release, and how they know the sender."""

    webhooks: SecretStr = setting(
        "WEBHOOKS",
        SecretStr(""),
        "The addresses that get a signed webhook when another version serves, or an experiment ends, "
        "separated by commas. Write %2C for a comma inside an address.",
        shown_default="none",
        expected="https addresses without a user name, separated by commas (http only to 127.0.0.1, ::1 or "
        "localhost)",
    )
    webhook_secret: SecretStr = setting(
        "WEBHOOK_SECRET",
        SecretStr(""),
        "The secret that signs the webhooks. Several secrets, separated by commas, each give a signature, so "
        "that receivers can change to a new secret one by one.",
        expected=f"{_SECRET_PREFIX} and 24 to 64 bytes in Base64 (several with commas between) if "
        "LASTAISLE_WEBHOOKS is set",
    )
    webhook_hours: float = setting(
        "WEBHOOK_HOURS",
        72.0,
        "How long after its first try an announcement that fails is tried again.",
        unit="hours",
        gt=0,
        le=24 * 365,
    )

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses, each once."""
        return tuple(dict.fromkeys(_parts(self.webhooks.get_secret_value())))

    @property
    def signing_keys(self) -> tuple[bytes, ...]:
        """The keys that the secrets stand for."""
        return signing_keys_of(self.webhook_secret.get_secret_value())

    @field_validator("webhooks")
    @classmethod
    def _addresses_are_safe(cls, webhooks: SecretStr) -> SecretStr:
        for number, address in enumerate(_parts(webhooks.get_secret_value()), start=1):
            if problem := problem_of_address(address):
                raise ValueError(f"address {number} {problem}")
        return webhooks

    @field_validator("webhook_secret")
    @classmethod
    def _secrets_can_sign(cls, secret: SecretStr, info: ValidationInfo) -> SecretStr:
        secrets = signing_keys_of(secret.get_secret_value())
        if not secrets and "webhooks" in info.data and _parts(info.data["webhooks"].get_secret_value()):
            raise ValueError("LASTAISLE_WEBHOOKS is set, and no secret would sign")
        return secret


def signing_keys_of(secrets: str) -> tuple[bytes, ...]:
    """Return the keys that some secrets, separated by commas, stand for.

    Raises:
        ValueError: a secret cannot sign. The message names its place, and does not show it.
    """
    keys = []
    for number, text in enumerate(_parts(secrets), start=1):
        try:
            keys.append(_key_of(text))
        except (ValueError, binascii.Error):
            raise ValueError(f"secret {number} is not {_SECRET_PREFIX} and Base64") from None
        if not 24 <= len(keys[-1]) <= 64:
            raise ValueError(f"secret {number} holds {len(keys[-1])} bytes")
    return tuple(keys)


def _parts(texts: str) -> list[str]:
    return [part for text in texts.split(",") if (part := text.strip())]


def _key_of(secret: str) -> bytes:
    """Return the key that a secret stands for.

    Raises:
        ValueError: the text does not begin with whsec_.
        binascii.Error: the rest is not Base64.
    """
    if not secret.startswith(_SECRET_PREFIX):
        raise ValueError
    return base64.b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True)


def problem_of_address(address: str) -> str:
    """Say why no webhook may go to an address; empty if it may. The text never holds the address."""
    if not re.fullmatch(r"[!-~]+", address):
        return "has a space or a letter outside ASCII"
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "is no address"
    is_name = ":" in host or re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?\.?", host)
    wrong = {
        "is no https address": parts.scheme not in ("http", "https"),
        "has no name of a machine": not is_name or port == 0,
        "has a user name": "@" in parts.netloc,
        "has a character that no address may have": bool(re.search(r"[#\\]", address)),
        "is http to another machine": parts.scheme == "http" and host not in _THIS_MACHINE,
    }
    return next((problem for problem, is_so in wrong.items() if is_so), "")
