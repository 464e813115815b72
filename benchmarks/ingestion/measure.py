"""Run something in a process of its own; measure its time, its stages, its memory; print what was found."""

from __future__ import annotations

import importlib
import logging
import multiprocessing
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from rich.console import Console
from rich.table import Table


def alone(work: Callable[..., Any], *given: Any) -> Any:
    """Run in a process of its own, so that its memory and its threads are its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *given).result()


def import_first() -> float:
    """Import what a task imports once, however many rows follow; return the seconds that took."""
    began = time.perf_counter()
    importlib.import_module("great_expectations")
    return round(time.perf_counter() - began, 2)


def measured(events: int, seconds: float) -> dict[str, Any]:
    """Return rate, time and the most memory that this process held."""
    from lastaisle.telemetry.memory import peak_rss_mib

    return {
        "events": events,
        "seconds": round(seconds, 2),
        "events_per_second": round(events / seconds),
        "peak_rss_mib": round(peak_rss_mib()),
    }


class Stages(logging.Handler):
    """Adds up how long each stage took."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        """Take the stage's name and its seconds from the record."""
        self.seconds[record.__dict__["stage"]] += record.__dict__["seconds"]


def listen() -> Stages:
    """Let the stages tell how long they take."""
    told = logging.getLogger("lastaisle.telemetry.stages")
    told.setLevel(logging.DEBUG)
    told.propagate = False
    stages = Stages()
    told.addHandler(stages)
    return stages


def shares(stages: Stages, seconds: float) -> dict[str, float]:
    """Return the share of the time that each stage took, the longest first."""
    found = {name: round(spent / seconds, 3) for name, spent in stages.seconds.most_common()}
    return found | {"other": round(1 - stages.seconds.total() / seconds, 3)}


def show_rates(found: dict[str, dict[str, Any]], title: str) -> None:
    """Print one row a measurement."""
    table = Table("what", "events", "seconds", "events/s", "peak MiB", title=title)
    for name, one in found.items():
        numbers = (one[key] for key in ("events", "seconds", "events_per_second", "peak_rss_mib"))
        table.add_row(name, *(f"{number:,}" for number in numbers))
    Console().print(table)


def show_stages(stages: dict[str, float]) -> None:
    """Print where the time goes."""
    table = Table("stage", "share of the time")
    for name, share in stages.items():
        table.add_row(name, f"{share:.1%}")
    Console().print(table)
