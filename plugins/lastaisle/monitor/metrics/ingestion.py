"""Metrics of ingestion, from the tables of batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import pyarrow.compute as pc

from lastaisle.lake.tables import BATCHES, CATALOGUE_BATCHES, EXPOSURE_BATCHES, GAPS, REFUSED_FILES
from lastaisle.monitor.metrics.bounded import MOST, OTHER, first_named
from lastaisle.monitor.metrics.families import (
    INGEST_ARRIVAL,
    INGEST_BATCHES,
    INGEST_LATE,
    INGEST_LOST,
    INGEST_NEWEST,
    INGEST_REFUSED,
    INGEST_ROWS,
    LEFT_OUT,
    Sample,
)
from lastaisle.telemetry.shown import one_line, without_password

if TYPE_CHECKING:
    from lastaisle.lake.reader import LakeReader

FEEDS: Final = {"events": BATCHES, "exposures": EXPOSURE_BATCHES, "catalogue": CATALOGUE_BATCHES}
READS: Final = (*FEEDS.values(), REFUSED_FILES, GAPS)
PART: Final = "ingestion"
_OUTCOMES: Final = ("clean", "quarantined", "duplicate", "ignored")
_SUMS: Final = tuple(f"rows_{outcome}" for outcome in (*_OUTCOMES, "late"))


@dataclass
class _Source:
    """The sums of one source.

    Attributes:
        began: when its first batch was taken in.
        batches: how many batches were taken in.
        sums: its rows by the names of the columns.
        newest: the time of its newest row.
        arrived: when its newest batch was taken in.
    """

    began: datetime
    batches: int
    sums: dict[str, int]
    newest: datetime | None
    arrived: datetime

    def add(self, other: _Source) -> None:
        """Add another source, whose name reads the same."""
        self.began, self.arrived = min(self.began, other.began), max(self.arrived, other.arrived)
        self.batches += other.batches
        self.sums = {name: count + other.sums[name] for name, count in self.sums.items()}
        known = [moment for moment in (self.newest, other.newest) if moment is not None]
        self.newest = max(known, default=None)


def read_ingestion(lake: LakeReader) -> Iterator[Sample]:
    """Yield the metrics of the batches, of refused files and of lost messages."""
    left_out = 0
    for feed, table in FEEDS.items():
        sources, more = _bounded(_sources(lake, table))
        left_out += more
        for source, counted in sources.items():
            yield from _of_source((feed, source), counted)
    refused = lake.dataset(REFUSED_FILES)
    yield Sample(INGEST_REFUSED, refused.count_rows() if refused is not None else 0)
    yield Sample(INGEST_LOST, _lost(lake))
    yield Sample(LEFT_OUT, left_out, (PART,))


def named(source: str) -> str:
    """Return the name of a source as a label: its format and its address, without password and query."""
    address = without_password(source)
    return one_line(address.partition("?")[0])


def _of_source(labels: tuple[str, str], counted: _Source) -> Iterator[Sample]:
    for outcome in _OUTCOMES:
        yield Sample(INGEST_ROWS, counted.sums[f"rows_{outcome}"], (*labels, outcome))
    yield Sample(INGEST_LATE, counted.sums["rows_late"], labels)
    yield Sample(INGEST_BATCHES, counted.batches, labels)
    yield Sample(INGEST_ARRIVAL, counted.arrived.timestamp(), labels)
    if counted.newest is not None:
        yield Sample(INGEST_NEWEST, counted.newest.timestamp(), labels)


def _sources(lake: LakeReader, table: str) -> dict[str, _Source]:
    """Return the sums of each source; columns that an older table lacks count as 0."""
    stored = lake.dataset(table)
    if stored is None:
        return {}
    present = [name for name in (*_SUMS, "newest") if name in stored.schema.names]
    rows = lake.scan(table, ["source", "finished_at", *present])
    aggregates = [
        *((name, "sum") for name in present if name != "newest"),
        *(("newest", "max") for name in present if name == "newest"),
        *(("finished_at", how) for how in ("min", "max", "count")),
    ]
    sources: dict[str, _Source] = {}
    for row in rows.group_by("source").aggregate(aggregates).to_pylist():
        source, name = _source_of(row), named(row["source"] or "")
        if name in sources:
            sources[name].add(source)
        else:
            sources[name] = source
    return sources


def _source_of(row: Mapping[str, Any]) -> _Source:
    return _Source(
        began=row["finished_at_min"],
        batches=row["finished_at_count"],
        sums={name: row.get(f"{name}_sum") or 0 for name in _SUMS},
        newest=row.get("newest_max"),
        arrived=row["finished_at_max"],
    )


def _bounded(sources: Mapping[str, _Source]) -> tuple[dict[str, _Source], int]:
    """Return the sources that came first, the sum of all others, and how many others there are.

    A source that is shown once is shown from then on, so that its counters never go back.
    """
    shown, others = first_named({name: source.began for name, source in sources.items()}, MOST)
    bounded = {name: sources[name] for name in shown}
    for name in others:
        if OTHER in bounded:
            bounded[OTHER].add(sources[name])
        else:
            bounded[OTHER] = sources[name]
    return bounded, len(others)


def _lost(lake: LakeReader) -> int:
    """Return how many messages Kafka deleted before they were read."""
    gaps = lake.scan(GAPS, ["start_offset", "end_offset"])
    return pc.sum(pc.subtract(gaps["end_offset"], gaps["start_offset"])).as_py() if gaps.num_rows else 0
