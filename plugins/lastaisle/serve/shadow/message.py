"""A question for the shadow, as one line of JSON between two processes."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct

from lastaisle.serve.questions import Asked


class Unseen(Struct):
    """A question that was answered, and that the shadow answers too.

    Attributes:
        trial: the name of the shadow in the table `traffic`.
        version: the number of the version that is the shadow.
        question: the fields of the question that a list is made of.
        shown: the first items of the answer.
    """

    trial: str
    version: str
    question: dict[str, Any]
    shown: list[str]

    def asked(self) -> Asked:
        """Return the question, without the trial that it belongs to."""
        return Asked(**{**self.question, "excluded": frozenset(self.question["excluded"])})


_DECODER: Final = msgspec.json.Decoder(Unseen)
_LEFT_OUT: Final = ("assigned", "failed", "unit", "explain")
"""Fields that only the shown list needs; nobody reads an explanation of a list that is not shown."""


def unseen(trial: str, version: str, question: Asked, shown: list[str]) -> Unseen:
    """Return the message of a question; see `Unseen`."""
    fields = {name: getattr(question, name) for name in question.__struct_fields__ if name not in _LEFT_OUT}
    return Unseen(trial, version, {**fields, "explain": False}, shown)


def to_line(message: Unseen) -> bytes:
    """Return the line of a message."""
    return msgspec.json.encode(message) + b"\n"


def from_line(line: bytes) -> Unseen:
    """Return the message of a line.

    Raises:
        msgspec.DecodeError: the line is no message.
    """
    return _DECODER.decode(line)
