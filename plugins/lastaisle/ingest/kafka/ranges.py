"""Which offsets to read next: plain arithmetic on what the brokers hold and what the tables have."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from lastaisle.kafka.errors import OffsetsWentBackError


@dataclass(frozen=True, order=True)
class Partition:
    """One partition of one incarnation of a topic.

    Attributes:
        cluster: the cluster's id.
        topic: the topic's name.
        topic_id: what Kafka made anew when the topic was: a topic of the same name is another one.
        partition: its number.
    """

    cluster: str
    topic: str
    topic_id: str
    partition: int

    @property
    def app_id(self) -> str:
        """The name under which the tables keep how far it was ingested."""
        return f"kafka/{self.cluster}/{self.topic_id}/{self.partition}"

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}"


@dataclass(frozen=True, order=True)
class Watermarks(Partition):
    """What the brokers hold of a partition: offsets from `low`, up to but without `end`.

    Attributes:
        low: the oldest offset that was not deleted yet.
        end: the offset after the newest one whose transaction is decided.
    """

    low: int
    end: int


@dataclass(frozen=True, order=True)
class OffsetRange(Partition):
    """A batch: the offsets from `start`, up to but without `end`."""

    start: int
    end: int

    @property
    def key(self) -> str:
        """The name of this range's beginning, under which a started batch keeps its planned end."""
        return range_key(self.app_id, self.start)

    @property
    def batch_id(self) -> str:
        """16 hex characters that the same beginning always gives, whatever end is planned."""
        return hashlib.sha256(self.key.encode()).hexdigest()[:16]

    @property
    def url(self) -> str:
        """What the tables name as the rows' source."""
        return f"kafka://{self.cluster}/{self.topic}/{self.partition}?start={self.start}&end={self.end}"

    def __len__(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, order=True)
class Gap(Partition):
    """Offsets that were deleted upstream before they were read: from `start`, up to but without `end`."""

    start: int
    end: int

    @property
    def key(self) -> str:
        """A name by which the same loss is told once, however often it is seen."""
        return f"{self.app_id}/{self.start}-{self.end}"

    def __len__(self) -> int:
        return self.end - self.start

    def __str__(self) -> str:
        return (
            f"{self.topic}/{self.partition}: offsets {self.start} to {self.end - 1} ({len(self)}) were"
            " deleted by the brokers before they were read; lengthen the topic's retention or run more often"
        )


@dataclass(frozen=True)
class Plan:
    """What one run reads.

    Attributes:
        ranges: by partition; those of one partition follow one another and are to be ingested in that order.
        gaps: what can no longer be read.
        lag: by app_id, the offsets not ingested yet that can still be read.
        left: offsets that this run leaves to the next.
    """

    ranges: tuple[OffsetRange, ...] = ()
    gaps: tuple[Gap, ...] = ()
    lag: Mapping[str, int] = field(default_factory=dict)
    left: int = 0

    def by_partition(self) -> list[list[OffsetRange]]:
        """Return the ranges as one list a partition: the lists may run side by side."""
        chains: dict[str, list[OffsetRange]] = {}
        for one in self.ranges:
            chains.setdefault(one.app_id, []).append(one)
        return list(chains.values())


def range_key(app_id: str, start: int) -> str:
    """Return the name of the range of a partition that begins at an offset."""
    return f"{app_id}@{start}"


def plan(
    watermarks: Sequence[Watermarks],
    committed: Mapping[str, int],
    started: Mapping[str, int] | None = None,
    *,
    max_rows: int = 5_000_000,
    batch_rows: int = 1_000_000,
) -> Plan:
    """Decide what to read, so that the same tables and brokers always give the same ranges.

    A partition begins where the tables say, or at its oldest offset if they say nothing: so does one that was
    added later. What a run may read is shared evenly; what a short partition leaves goes to the others.

    Args:
        watermarks: what the brokers hold.
        committed: by app_id, the offset after the last one ingested.
        started: by the key of a range, the end of a batch that was begun and not finished. That batch is
            planned with this very end again, whole, even if its rows were deleted meanwhile.
        max_rows: the most offsets of a run; a started batch may exceed it.
        batch_rows: the most offsets of a new batch.

    Raises:
        OffsetsWentBackError: a partition ends before what was committed or started.
        ValueError: a bound below 1.
    """
    if max_rows < 1 or batch_rows < 1:
        raise ValueError(f"max_rows and batch_rows should be 1 or more, received {max_rows}, {batch_rows}")
    waits = [_Waiting.of(marks, committed, started or {}) for marks in sorted(watermarks)]
    budget = max_rows - sum(len(one.redo) for one in waits if one.redo)
    shares = share([one.marks.end - one.start for one in waits], max(0, budget))
    ranges: list[OffsetRange] = []
    left = 0
    for one, rows in zip(waits, shares, strict=True):
        if one.redo:
            ranges.append(one.redo)
        ranges += one.split(rows, batch_rows, started or {})
        reached = ranges[-1].end if ranges and ranges[-1].app_id == one.marks.app_id else one.start
        left += max(0, one.marks.end - reached)
    gaps = tuple(gap for one in waits for gap in one.gaps)
    return Plan(tuple(ranges), gaps, {one.marks.app_id: one.lag for one in waits}, left)


def share(wanted: Sequence[int], total: int) -> list[int]:
    """Share a total evenly among those who want it, nobody getting more than wanted.

    Returns:
        One number each, whose sum is the smaller of the total and of all that was wanted.
    """
    shares = [0] * len(wanted)
    by_need = sorted(range(len(wanted)), key=lambda index: wanted[index])
    for done, index in enumerate(by_need):
        shares[index] = min(wanted[index], -(-total // (len(wanted) - done)))
        total -= shares[index]
    return shares


@dataclass(frozen=True)
class _Waiting:
    """What waits in one partition.

    Attributes:
        marks: what the brokers hold of it.
        start: where new ranges begin.
        redo: a range that was begun and not finished.
        gaps: what was deleted before it was read.
        lag: offsets not ingested yet that can still be read.
    """

    marks: Watermarks
    start: int
    redo: OffsetRange | None
    gaps: tuple[Gap, ...]
    lag: int

    @classmethod
    def of(cls, marks: Watermarks, committed: Mapping[str, int], started: Mapping[str, int]) -> _Waiting:
        """Compare what the brokers hold with what the tables have."""
        begin = committed.get(marks.app_id)
        if begin is None:
            # A first batch that was begun is known by its start, which the brokers may have deleted since.
            known = [int(key.rpartition("@")[2]) for key in started if key.startswith(f"{marks.app_id}@")]
            begin = min(known, default=marks.low)
        redo_end = started.get(range_key(marks.app_id, begin))
        reached = begin if redo_end is None else redo_end
        if reached > marks.end:
            raise OffsetsWentBackError(
                f"{marks.topic}/{marks.partition} ends at offset {marks.end}, but {reached} was reached"
                " before: the brokers lost its newest messages (an unclean leader election, a restored"
                f" backup). Nothing was read. The tables keep its offsets under {marks.app_id}: make the"
                " topic anew, or wait until it ends beyond that offset"
            )
        redo = None if redo_end is None else OffsetRange(*_identity(marks), begin, redo_end)
        lost = _lost(marks, begin, redo_end)
        return cls(marks, max(reached, marks.low), redo, lost, marks.end - max(begin, marks.low))

    def split(self, rows: int, batch_rows: int, started: Mapping[str, int]) -> Iterator[OffsetRange]:
        """Yield new ranges of so many rows in all; one that was begun keeps its end."""
        begin, stop = self.start, self.start + rows
        while begin < stop:
            end = started.get(range_key(self.marks.app_id, begin), min(begin + batch_rows, stop))
            yield OffsetRange(*_identity(self.marks), begin, end)
            begin = end


def _lost(marks: Watermarks, begin: int, redo_end: int | None) -> tuple[Gap, ...]:
    """Return what was deleted, cut where a batch that was begun ends."""
    if begin >= marks.low:
        return ()
    cut = marks.low if redo_end is None else min(redo_end, marks.low)
    edges = [(begin, cut), (cut, marks.low)]
    return tuple(Gap(*_identity(marks), start, end) for start, end in edges if start < end)


def _identity(marks: Partition) -> tuple[str, str, str, int]:
    return marks.cluster, marks.topic, marks.topic_id, marks.partition
