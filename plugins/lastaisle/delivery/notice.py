"""A notice: a message to people about an alert, for every channel."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

Severity: TypeAlias = Literal["info", "warning", "critical"]
Kind: TypeAlias = Literal["raised", "changed", "resolved", "test"]
SEVERITIES: Final[tuple[Severity, ...]] = ("info", "warning", "critical")
"""The severities, the mildest first."""

_LONGEST_TEXT: Final = 10_000  # characters
_LONGEST_TITLE: Final = 200


@dataclass(frozen=True)
class Notice:
    """One message about an alert.

    Attributes:
        id: the name of the message, the same at each try; receivers know a repeated message by it.
        kind: what happened to the alert.
        severity: how bad the alert is.
        title: one line.
        text: some lines; without personal data.
        at: when it happened (UTC).
        data: the same as JSON values, for programs.
        links: where to look: a name and an address, or the name of a page of the documentation.
        group: the alerts of one group share their messages.
        dedup_key: names the alert: a later message with the same key is about the same alert.
        rule: the name of the rule that raised the alert; empty without one.
    """

    id: str
    kind: Kind
    severity: Severity
    title: str
    text: str
    at: datetime
    data: Mapping[str, Any] = field(default_factory=dict)
    links: tuple[tuple[str, str], ...] = ()
    group: str = ""
    dedup_key: str = ""
    rule: str = ""

    @property
    def type(self) -> str:
        """The type of the message, such as alert.raised."""
        return f"alert.{self.kind}"

    @property
    def key(self) -> str:
        """What names the alert: the dedup key, or else the id."""
        return self.dedup_key or self.id

    @property
    def line(self) -> str:
        """The title in one line, after the state or the severity: `[critical] No logs came`."""
        state = self.severity if self.kind in ("raised", "changed") else self.kind
        return f"[{state}] {shortened(one_line(self.title), _LONGEST_TITLE)}"

    @property
    def body(self) -> str:
        """The text, without control characters and not too long."""
        return shortened("\n".join(map(one_line, self.text.splitlines())).strip(), _LONGEST_TEXT)


def is_milder(one: Severity, other: Severity) -> bool:
    """Tell whether the first severity is lower than the second."""
    return SEVERITIES.index(one) < SEVERITIES.index(other)


def one_line(text: str) -> str:
    """Return a text without line breaks and control characters."""
    return "".join(character if character.isprintable() else " " for character in text).strip()


def shortened(text: str, longest: int) -> str:
    """Return a text of at most so many characters; `…` stands for the rest."""
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


def is_address(link: str) -> bool:
    """Tell whether a link is an address of the web, and not the name of a page."""
    return link.startswith(("https://", "http://"))


def digest_of(*names: str) -> str:
    """Return 32 digits that name the same thing at each call."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:32]
