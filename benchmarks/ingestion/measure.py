"""Run a function in its own process; measure time, stages and memory; print the measurements."""

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
    """Run a function in a new process, so that memory and threads of other work do not count."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *given).result()


def import_first() -> float:
    """Do the imports that a task does once for any number of rows; return their seconds."""
    began = time.perf_counter()
    importlib.import_module("great_expectations")
    return round(time.perf_counter() - began, 2)


def measured(events: int, seconds: float) -> dict[str, Any]:
    """Return rate, time and the peak memory of this process."""
    from lastaisle.telemetry.memory import peak_rss_mib

    return {
        "events": events,
        "seconds": round(seconds, 2),
        "events_per_second": round(events / seconds),
        "peak_rss_mib": round(peak_rss_mib()),
    }


class Stages(logging.Handler):
    """Adds up the seconds of each stage."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        """Add the seconds of the record to the stage of the record."""
        self.seconds[record.__dict__["stage"]] += record.__dict__["seconds"]


def collect_stages() -> Stages:
    """Collect the seconds of all stages from now on."""
    stage_logger = logging.getLogger("lastaisle.telemetry.stages")
    stage_logger.setLevel(logging.DEBUG)
    stage_logger.propagate = False
    stages = Stages()
    stage_logger.addHandler(stages)
    return stages


def shares(stages: Stages, seconds: float) -> dict[str, float]:
    """Return the share of the time that each stage took, the longest first."""
    found = {name: round(spent / seconds, 3) for name, spent in stages.seconds.most_common()}
    return found | {"other": round(1 - stages.seconds.total() / seconds, 3)}


def show_rates(found: dict[str, dict[str, Any]], title: str) -> None:
    """Print one row for each measurement."""
    table = Table("measurement", "events", "seconds", "events/s", "peak MiB", title=title)
    for name, one in found.items():
        numbers = (one[key] for key in ("events", "seconds", "events_per_second", "peak_rss_mib"))
        table.add_row(name, *(f"{number:,}" for number in numbers))
    Console().print(table)


def show_stages(stages: dict[str, float]) -> None:
    """Print the share of each stage in the time."""
    table = Table("stage", "share of the time")
    for name, share in stages.items():
        table.add_row(name, f"{share:.1%}")
    Console().print(table)
