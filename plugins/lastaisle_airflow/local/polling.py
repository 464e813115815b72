"""Wait for a condition by calling a function again and again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tenacity import Retrying, retry_if_not_result, stop_after_delay, wait_fixed

T = TypeVar("T")


def wait_until(ready: Callable[[], T], timeout: float, pause: float = 0.7) -> T | None:
    """Return the first true result of a function; None if no result is true in time.

    Args:
        ready: function to call; an error that it raises ends the waiting.
        timeout: seconds after which no further call is made.
        pause: seconds between two calls.
    """
    waiting = Retrying(
        retry=retry_if_not_result(bool),
        stop=stop_after_delay(timeout),
        wait=wait_fixed(pause),
        retry_error_callback=lambda _: None,
    )
    return waiting(ready)
