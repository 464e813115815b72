"""The parts of the metrics: each is read by itself, and only when its tables have changed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from threading import Event, Thread
from typing import TYPE_CHECKING, Final

from lastaisle.lake.tables import ALL_TABLES
from lastaisle.monitor.metrics import ingestion, learning, privacy, shop, tables
from lastaisle.monitor.metrics.families import REFRESHED, UP, Sample
from lastaisle.registry.registry import Registry
from lastaisle.registry.run import has_store
from lastaisle.telemetry.shown import one_line, without_password

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.settings import Settings

STOP_SECONDS: Final = 5.0
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)

log = logging.getLogger(__name__)


class Part:
    """One part: its values at the last look, and whether they could be read.

    Args:
        name: its name, the label of `lastaisle_up`.
        state: returns what the values depend on, such as the versions of tables. While it stays the same,
            the values are not read again. None: they are read at each look.
        read: reads the values.
    """

    def __init__(self, name: str, state: Callable[[], object], read: Callable[[], Iterable[Sample]]) -> None:
        self.name = name
        self._state, self._read = state, read
        self._seen: object = None
        self._shown = _Shown((), problem="it was not read yet")

    def refresh(self) -> None:
        """Look whether something changed, and read the values again if so; an error ends no other part."""
        try:
            state = self._state()
            samples = self._shown.samples
            if self._shown.problem or state is None or state != self._seen:
                samples = tuple(self._read())
        except Exception as error:  # of MLflow, of a store, or of a table that was written by other software
            problem = one_line(without_password(f"{type(error).__name__}: {error}"))
            if problem != self._shown.problem:
                log.error("the metrics of %s cannot be read: %s; the others go on", self.name, problem)
            self._shown = _Shown((), problem, time.time())
            return
        self._seen = state
        self._shown = _Shown(samples, "", time.time())

    def samples(self) -> Iterator[Sample]:
        """Yield the values of the last look, whether there are any, and the moment of the look."""
        shown = self._shown
        yield from shown.samples
        yield Sample(UP, 0 if shown.problem else 1, (self.name,))
        if shown.looked is not None:
            yield Sample(REFRESHED, shown.looked, (self.name,))


@dataclass(frozen=True)
class _Shown:
    samples: tuple[Sample, ...]
    problem: str
    looked: float | None = None


class Measures:
    """All parts, and the threads that look at them.

    Args:
        groups: the parts. Each group has a thread of its own, so that a store that hangs holds back no other.
        seconds: how often each thread looks whether something changed.
    """

    def __init__(self, groups: Sequence[Sequence[Part]], seconds: float) -> None:
        self.parts = tuple(part for group in groups for part in group)
        self._seconds = seconds
        self._ended = Event()
        self._threads = [Thread(target=self._follow, args=(group,), daemon=True) for group in groups]

    def start(self) -> None:
        """Begin to look."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the threads; one that hangs ends with the process."""
        self._ended.set()
        for thread in self._threads:
            thread.join(STOP_SECONDS)

    def refresh(self) -> None:
        """Look at all parts once."""
        for part in self.parts:
            part.refresh()

    def samples(self) -> list[Sample]:
        """Return the values of all parts at their last looks, without reading anything."""
        return [sample for part in self.parts for sample in part.samples()]

    def _follow(self, group: Sequence[Part]) -> None:
        while not self._ended.is_set():
            for part in group:
                part.refresh()
            self._ended.wait(self._seconds)


def groups_of(lake: Lake, settings: Settings) -> tuple[tuple[Part, ...], ...]:
    """Return the parts of an installation: those of the lake, and those of MLflow."""
    model, make_registry = settings.registry.model_name, cache(partial(Registry, settings))

    def by_clock(
        name: str, unit: timedelta, reads: Sequence[str], read: Callable[[], Iterable[Sample]]
    ) -> Part:
        return Part(name, lambda: (time.time() // unit.total_seconds(), lake.versions(reads)), read)

    def of_tables(name: str, reads: Sequence[str], read: Callable[[], Iterable[Sample]]) -> Part:
        return Part(name, lambda: lake.versions(reads), read)

    of_lake = (
        of_tables(ingestion.PART, ingestion.READS, lambda: ingestion.read_ingestion(lake)),
        of_tables("training", learning.TRAINING_READS, lambda: learning.read_trainings(lake, model)),
        of_tables("gate", learning.GATE_READS, lambda: learning.read_gate(lake, model)),
        by_clock(shop.PART, HOUR, shop.READS, lambda: shop.read_shop(lake, datetime.now(UTC))),
        of_tables("drift", tables.DRIFT_READS, lambda: tables.read_drift(lake)),
        # What a training spent counts for a year.
        by_clock(
            privacy.PART,
            HOUR,
            privacy.READS,
            lambda: privacy.read_budget(lake, settings.privacy, datetime.now(UTC)),
        ),
        # A silence ends by the clock.
        by_clock(tables.ALERTS_PART, MINUTE, tables.ALERT_READS, lambda: tables.read_open_alerts(lake)),
        *(of_tables(f"table {name}", (name,), partial(tables.read_table, lake, name)) for name in ALL_TABLES),
    )

    def runs() -> Iterable[Sample]:
        return learning.read_runs(lake, make_registry(), model) if has_store(settings) else ()

    of_mlflow = Part("mlflow", lambda: None, runs)
    return of_lake, (of_mlflow,)
