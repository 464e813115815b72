"""The parts of an answer leave together."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lastaisle.web.joined import JOINED_BYTES, JoinedWrites


class Sent:
    """A transport that notes what it is asked for."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.closing = False

    def write(self, data: bytes) -> None:
        self.calls.append(data)

    def write_eof(self) -> None:
        self.calls.append("end of this side")

    def close(self) -> None:
        self.calls.append("close")
        self.closing = True

    def abort(self) -> None:
        self.calls.append("abort")
        self.closing = True

    def is_closing(self) -> bool:
        return self.closing


def sent_by(act: Any) -> list[Any]:
    """Return what leaves when `act` writes in one turn of the loop, and a mark at its end."""
    sent = Sent()

    async def turn() -> None:
        act(JoinedWrites(sent, asyncio.get_running_loop()))
        sent.calls.append("end of the turn")
        await asyncio.sleep(0.01)

    asyncio.run(turn())
    return sent.calls


def test_the_parts_of_one_turn_leave_as_one_at_its_end():
    def act(transport):
        transport.write(b"head")
        transport.write(b"body")

    assert sent_by(act) == ["end of the turn", b"headbody"]


@pytest.mark.parametrize(("end", "told"), [("close", "close"), ("write_eof", "end of this side")])
def test_what_was_written_leaves_before_the_end(end, told):
    def act(transport):
        transport.write(b"answer")
        getattr(transport, end)()

    assert sent_by(act) == [b"answer", told, "end of the turn"]


def test_nothing_is_written_after_an_abort():
    def act(transport):
        transport.write(b"answer")
        transport.abort()
        assert transport.is_closing()

    assert sent_by(act) == ["abort", "end of the turn"]


def test_large_parts_leave_at_once_and_later_parts_leave_too():
    large = b"x" * (JOINED_BYTES + 1)

    def act(transport):
        transport.write(b"head")
        transport.write(large)
        transport.write(b"tail")

    assert sent_by(act) == [b"head" + large, "end of the turn", b"tail"]
