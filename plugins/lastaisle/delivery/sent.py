"""What comes of one try to send a message."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True)
class Sent:
    """What came of a try.

    Attributes:
        problem: why the message did not arrive; empty if it arrived. It holds neither the address nor the
            body of the answer.
        answered: whether the receiver answered at all.
        remark: what a person should know of a message that arrived, such as that one of three recipients was
            refused.
        wait: how long the receiver asks to be left alone.
    """

    problem: str = ""
    answered: bool = True
    remark: str = ""
    wait: timedelta = timedelta(0)


def cause_of(error: BaseException) -> str:
    """Return the kind of an error, with the text of the system where there is one."""
    kind = type(error).__name__
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, OSError) and inner.strerror:
            return f"{kind}: {inner.strerror}"
        inner = inner.__cause__ or inner.__context__
    return kind
