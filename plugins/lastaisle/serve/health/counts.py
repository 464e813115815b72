"""Count the answers of this worker, by minute and by the version and the arm that made the list."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import pyarrow as pa

from lastaisle.feedback.health import (
    ARM,
    CANARY,
    CHAMPION,
    COMPARED_ITEMS,
    LATENCY_BOUNDS,
    SERVICE_METRICS_SCHEMA,
    Role,
)
from lastaisle.serve.parts import Maker

MINUTE, HOUR, DAY = 60, 3600, 86_400
MAX_ROWS: Final = 1_000
"""More rows than this that wait for the lake are merged by hour, and then by day."""
_CANARY: Final = f"{CANARY}-"  # how the names of the canaries' trials begin
_REFUSED: Final = 503
_NO_LISTS: Final = (0,) * (len(LATENCY_BOUNDS) + 1)


class Source(NamedTuple):
    """The source of lists: a version, in its role.

    Attributes:
        model: the name of the model; empty if none was loaded.
        version: its version.
        role: champion, arm, canary or shadow.
        experiment: the trial, or None.
        arm: the arm of the trial, or None.
    """

    model: str
    version: str
    role: Role
    experiment: str | None = None
    arm: str | None = None


class Interval(NamedTuple):
    """A time in which answers are counted together.

    Attributes:
        start: seconds since the epoch.
        seconds: its length: a minute, an hour or a day.
    """

    start: int
    seconds: int


@dataclass
class Counts:
    """Sums of one source in one interval, as the table `service_metrics` has them."""

    requests: int = 0
    errors: int = 0
    refused: int = 0
    empty_lists: int = 0
    latency_counts: list[int] = field(default_factory=lambda: list(_NO_LISTS))
    latency_seconds: float = 0.0
    dropped: int = 0
    compared: int = 0
    overlap_sum: float = 0.0

    def add(self, other: Counts) -> None:
        """Add the counts of another interval."""
        for name, value in vars(other).items():
            if name != "latency_counts":
                setattr(self, name, getattr(self, name) + value)
        pairs = zip(self.latency_counts, other.latency_counts, strict=True)
        self.latency_counts = [mine + given for mine, given in pairs]


Rows = dict[tuple[Interval, Source], Counts]


class HealthCounts:
    """Counts answers. Several threads may count at once."""

    def __init__(self) -> None:
        self._rows: Rows = {}
        self._lock = threading.Lock()

    def answered(self, source: Source, seconds: float, *, is_empty: bool) -> None:
        """Count a list, the seconds that it took, and whether it has no item."""
        with self._lock:
            counts = self._counts(source)
            counts.requests += 1
            counts.empty_lists += is_empty
            counts.latency_counts[bisect_left(LATENCY_BOUNDS, seconds)] += 1
            counts.latency_seconds += seconds

    def failed(self, source: Source, status: int) -> None:
        """Count an answer of status 500 or above."""
        with self._lock:
            counts = self._counts(source)
            counts.requests += 1
            counts.errors += 1
            counts.refused += status == _REFUSED

    def compared(self, source: Source, overlap: float) -> None:
        """Count a list that was compared with the shown list, and the share of common items."""
        with self._lock:
            counts = self._counts(source)
            counts.compared += 1
            counts.overlap_sum += overlap

    def dropped(self, source: Source) -> None:
        """Count a question that a shadow did not score."""
        with self._lock:
            self._counts(source).dropped += 1

    def take(self) -> Rows:
        """Return the counts, and begin again at 0."""
        with self._lock:
            rows, self._rows = self._rows, {}
        return rows

    def _counts(self, source: Source) -> Counts:
        key = (Interval(int(time.time()) // MINUTE * MINUTE, MINUTE), source)
        if (counts := self._rows.get(key)) is None:
            counts = self._rows[key] = Counts()
        return counts


def source_of(maker: Maker) -> Source:
    """Return the source of a list that a shopper got; the name of the trial tells its role."""
    model, version, experiment, arm = maker
    if experiment is None:
        return Source(model, version, CHAMPION)
    role: Role = CANARY if experiment.startswith(_CANARY) else ARM
    return Source(model, version, role, experiment, arm)


def add_rows(rows: Rows, others: Mapping[tuple[Interval, Source], Counts]) -> Rows:
    """Return two sets of counts together; above MAX_ROWS, those of an hour together, or of a day."""
    for seconds in (0, HOUR, DAY):
        together: Rows = {}
        for (interval, source), counts in [*rows.items(), *others.items()]:
            key = (_widened(interval, seconds), source)
            together.setdefault(key, Counts()).add(counts)
        if len(together) <= MAX_ROWS:
            break
    return together


def table_of(rows: Rows, service: str, sequence: int) -> pa.Table:
    """Return counts as rows of the table `service_metrics`.

    Args:
        rows: the counts.
        service: the random name of this worker.
        sequence: the number of this write.
    """
    return pa.Table.from_pylist(
        [
            _row(interval, source, counts) | {"service": service, "sequence": sequence}
            for (interval, source), counts in rows.items()
        ],
        SERVICE_METRICS_SCHEMA,
    )


def _row(interval: Interval, source: Source, counts: Counts) -> dict[str, Any]:
    start = datetime.fromtimestamp(interval.start, UTC)
    return {
        "interval_start": start,
        "interval_end": datetime.fromtimestamp(interval.start + interval.seconds, UTC),
        "model_name": source.model,
        "model_version": source.version,
        "role": source.role,
        "experiment": source.experiment,
        "arm": source.arm,
        **vars(counts),
        "compared_items": COMPARED_ITEMS,
        "event_date": start.date(),
    }


def _widened(interval: Interval, seconds: int) -> Interval:
    """Return the hour or the day of an interval, or the interval, if it is as long."""
    if interval.seconds >= seconds:
        return interval
    return Interval(interval.start // seconds * seconds, seconds)
