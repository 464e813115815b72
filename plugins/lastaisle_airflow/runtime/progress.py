"""Show the progress of a long step in the log of its task."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable


def log_progress(log: logging.Logger, seconds: float = 20.0) -> Callable[[float, str], None]:
    """Return a function that logs the share done and the present step, at most once in `seconds`.

    A step that ends within that time logs nothing.
    """
    logged = time.monotonic()

    def show(share: float, step: str) -> None:
        nonlocal logged
        if time.monotonic() - logged >= seconds:
            logged = time.monotonic()
            log.info("%3.0f %% done: %s", 100 * share, step)

    return show
