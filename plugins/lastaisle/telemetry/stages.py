"""Measure time: each stage of the work logs, at DEBUG, how long it took."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Time a stage; the log record carries `stage` and `seconds`, so that a handler can add them up."""
    began = time.perf_counter()
    try:
        yield
    finally:
        seconds = time.perf_counter() - began
        log.debug("%s: %.3f s", name, seconds, extra={"stage": name, "seconds": seconds})
