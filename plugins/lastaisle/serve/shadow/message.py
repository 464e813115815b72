"""A question for the shadow, as one line of JSON between two processes."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from lastaisle.serve.questions import Asked


class Unseen(Struct):
    """A question that was answered, and that the shadow answers too.

    Attributes:
        trial: the name of the shadow in the table `traffic`.
        version: the number of the version that is the shadow.
        question: the question.
        shown: the first items of the answer.
    """

    trial: str
    version: str
    question: Asked
    shown: list[str]


_DECODER: Final = msgspec.json.Decoder(Unseen)


def to_line(message: Unseen) -> bytes:
    """Return the line of a message."""
    return msgspec.json.encode(message) + b"\n"


def from_line(line: bytes) -> Unseen:
    """Return the message of a line.

    Raises:
        msgspec.DecodeError: the line is no message.
    """
    return _DECODER.decode(line)
