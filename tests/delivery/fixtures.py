"""Real servers on 127.0.0.1 that get messages; they end with the test."""

from __future__ import annotations

import pytest

from tests.delivery.receivers import Receiver


@pytest.fixture
def receiver():
    """Start services that end with the test."""
    started = []

    def start(*statuses: int, **options: object) -> Receiver:
        started.append(Receiver(*statuses, **options))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def mailbox():
    """Start mail servers that end with the test."""
    from tests.delivery.mailbox import Mailbox  # its library is loaded only where a test needs it

    started = []

    def start(**options: object) -> Mailbox:
        started.append(Mailbox(**options))
        return started[-1]

    yield start
    for one in started:
        one.stop()
