"""Wait for a condition, not for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")


def wait_until(
    description: str, ready: Callable[[], Value], timeout: float = 60, pause: float = 0.02
) -> Value:
    """Return the first true result of `ready`; fail with `description` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (value := ready()):
        assert time.monotonic() < deadline, f"not within {timeout:.0f} s: {description}"
        time.sleep(pause)
    return value
