"""Plan which offsets to read next, from the offsets of the brokers and of the tables."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from lastaisle.kafka.errors import OffsetsWentBackError


@dataclass(frozen=True, order=True)
class Partition:
    """One partition of one topic; a topic that was deleted and created again is another topic.

    Attributes:
        cluster: the cluster's id.
        topic: the topic's name.
        topic_id: the id that Kafka gave the topic at its creation. A later topic of that name has another.
        partition: its number.
        use: the table of the batches of what the partition is read for, if one topic may be read for several
            uses; each use has offsets of its own. Empty for events and for the catalogue.
    """

    cluster: str
    topic: str
    topic_id: str
    partition: int
    use: str = field(default="", kw_only=True)

    @property
    def app_id(self) -> str:
        """The name under which the tables keep the ingested offset of the partition."""
        use = f"{self.use}/" if self.use else ""
        return f"{use}kafka/{self.cluster}/{self.topic_id}/{self.partition}"

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}"


@dataclass(frozen=True, order=True)
class Watermarks(Partition):
    """The offsets that the brokers hold of a partition: from `low`, up to but without `end`.

    Attributes:
        low: the oldest offset that is not deleted.
        end: the offset after the newest offset whose transaction is decided.
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
        """The name of the start of this range; a started batch keeps its planned end under it."""
        return range_key(self.app_id, self.start)

    @property
    def batch_id(self) -> str:
        """16 hex characters made from the start of the range; the planned end does not matter."""
        return hashlib.sha256(self.key.encode()).hexdigest()[:16]

    @property
    def url(self) -> str:
        """The address of the rows, as the tables name it."""
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
        """The name of the gap; it is reported once under this name, however often it is noticed."""
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
    """The ranges that one run reads.

    Attributes:
        ranges: by partition. The ranges of one partition are consecutive and must be ingested in that order.
        gaps: the offsets that can no longer be read.
        lag: by app_id, the number of readable offsets that are not ingested yet.
        left: the number of offsets that this run leaves to the next run.
    """

    ranges: tuple[OffsetRange, ...] = ()
    gaps: tuple[Gap, ...] = ()
    lag: Mapping[str, int] = field(default_factory=dict)
    left: int = 0

    def by_partition(self) -> list[list[OffsetRange]]:
        """Return the ranges as one list a partition; the lists may be ingested in parallel."""
        chains: dict[str, list[OffsetRange]] = {}
        for span in self.ranges:
            chains.setdefault(span.app_id, []).append(span)
        return list(chains.values())


def range_key(app_id: str, start: int) -> str:
    """Return the name of the range of a partition that starts at an offset."""
    return f"{app_id}@{start}"


def first_key(app_id: str) -> str:
    """Return the name under which a partition's first batch keeps its start, which retention may delete."""
    return f"{app_id}/first"


def plan(
    watermarks: Sequence[Watermarks],
    committed: Mapping[str, int],
    started: Mapping[str, int] | None = None,
    *,
    max_rows: int = 5_000_000,
    batch_rows: int = 1_000_000,
) -> Plan:
    """Decide which ranges to read; the same tables and brokers always give the same ranges.

    A partition is read from its ingested offset on, or from its oldest offset if the tables have none, as for
    a new partition. The offsets of a run are shared evenly. The rest of a short partition's share goes to the
    other partitions.

    Args:
        watermarks: the offsets that the brokers hold.
        committed: by app_id, the offset after the last ingested offset.
        started: by the key of a range, the end of a batch that was begun and not finished. That batch is
            planned again with the same end, even if its rows were deleted meanwhile.
        max_rows: the most offsets of a run; a started batch may exceed it.
        batch_rows: the most offsets of a new batch.

    Raises:
        OffsetsWentBackError: a partition ends before a committed or started offset.
        ValueError: a bound below 1.
    """
    if max_rows < 1 or batch_rows < 1:
        raise ValueError(f"max_rows and batch_rows should be 1 or more, received {max_rows}, {batch_rows}")
    waits = [_Waiting.of(marks, committed, started or {}) for marks in sorted(watermarks)]
    budget = max_rows - sum(len(partition.redo) for partition in waits if partition.redo)
    shares = share([partition.marks.end - partition.start for partition in waits], max(0, budget))
    ranges: list[OffsetRange] = []
    left = 0
    for partition, rows in zip(waits, shares, strict=True):
        if partition.redo:
            ranges.append(partition.redo)
        ranges += partition.split(rows, batch_rows, started or {})
        reached = (
            ranges[-1].end if ranges and ranges[-1].app_id == partition.marks.app_id else partition.start
        )
        left += max(0, partition.marks.end - reached)
    gaps = tuple(gap for partition in waits for gap in partition.gaps)
    return Plan(tuple(ranges), gaps, {partition.marks.app_id: partition.lag for partition in waits}, left)


def share(demands: Sequence[int], total: int) -> list[int]:
    """Share a total evenly among several demands; no share is larger than its demand.

    Returns:
        One share for each demand. Their sum is the total or the sum of the demands, whichever is smaller.
    """
    shares = [0] * len(demands)
    by_need = sorted(range(len(demands)), key=lambda index: demands[index])
    for done, index in enumerate(by_need):
        shares[index] = min(demands[index], -(-total // (len(demands) - done)))
        total -= shares[index]
    return shares


@dataclass(frozen=True)
class _Waiting:
    """The offsets that wait in one partition.

    Attributes:
        marks: the offsets that the brokers hold.
        start: the start of new ranges.
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
        """Compare the offsets of the brokers with the offsets of the tables."""
        begin = committed.get(marks.app_id)
        if begin is None:
            # The key of a started first batch names its start, which the brokers may have deleted since.
            known = [int(key.rpartition("@")[2]) for key in started if key.startswith(f"{marks.app_id}@")]
            begin = min(known, default=marks.low)
        redo_end = started.get(range_key(marks.app_id, begin))
        reached = begin if redo_end is None else redo_end
        if reached > marks.end:
            raise OffsetsWentBackError(
                f"{marks.topic}/{marks.partition} ends at offset {marks.end}, but {reached} was reached"
                " before: the brokers lost its newest messages (an unclean leader election, a restored"
                f" backup). Nothing was read. The tables keep its offsets under {marks.app_id}: create the"
                " topic again, or wait until it ends beyond that offset"
            )
        redo = None if redo_end is None else OffsetRange(*_identity(marks), begin, redo_end, use=marks.use)
        lost = _lost(marks, begin, redo_end)
        return cls(marks, max(reached, marks.low), redo, lost, marks.end - max(begin, marks.low))

    def split(self, rows: int, batch_rows: int, started: Mapping[str, int]) -> Iterator[OffsetRange]:
        """Yield new ranges of this many rows in all; a range that was begun keeps its end."""
        begin, stop = self.start, self.start + rows
        while begin < stop:
            end = started.get(range_key(self.marks.app_id, begin), min(begin + batch_rows, stop))
            yield OffsetRange(*_identity(self.marks), begin, end, use=self.marks.use)
            begin = end


def _lost(marks: Watermarks, begin: int, redo_end: int | None) -> tuple[Gap, ...]:
    """Return the deleted offsets, cut at the end of a batch that was begun."""
    if begin >= marks.low:
        return ()
    cut = marks.low if redo_end is None else min(redo_end, marks.low)
    edges = [(begin, cut), (cut, marks.low)]
    return tuple(Gap(*_identity(marks), start, end) for start, end in edges if start < end)


def _identity(marks: Partition) -> tuple[str, str, str, int]:
    return marks.cluster, marks.topic, marks.topic_id, marks.partition
