"""What came in: the batches of all feeds, the events of each hour, and the rows that were kept out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from statistics import median
from typing import TYPE_CHECKING, Any, Final, Literal

from lastaisle.lake.tables import EVENTS, GAPS, REFUSED_FILES
from lastaisle.lake.workspace import read_tables
from lastaisle.monitor.metrics.ingestion import FEEDS, named
from lastaisle.telemetry.shown import one_line

if TYPE_CHECKING:
    from lastaisle.dashboard.source import Source
    from lastaisle.lake.reader import LakeReader

MOST_BATCHES: Final = 20_000
"""The newest so many batches of each feed are looked at."""
DAYS_BEFORE: Final = 7
SHOWN: Final[Mapping[str, int]] = {"hour": 7, "day": 28}
"""How many days are drawn by hour, and by day."""
MOST_LINES: Final = 6
OTHERS: Final = "other sources"
Every = Literal["hour", "day"]
_COUNTS: Final = ("in", "clean", "quarantined", "duplicate", "ignored", "late")
_COLUMNS: Final = (
    *("batch_id", "source", "source_file", "newest", "hours", "finished_at", "contract_version"),
    *("quarantined_by_rule", "gx_problem", *(f"rows_{count}" for count in _COUNTS)),
)


@dataclass(frozen=True)
class Batch:
    """One batch that was taken in.

    Attributes:
        id: its name.
        feed: events, exposures or catalogue.
        source: the format and the address, without password.
        file: the last part of the file's address, or the range of a topic.
        rows: in, clean, quarantined, duplicate, ignored and late, to their numbers; older lakes lack some.
        by_rule: rule to the number of rows that broke it.
        hours: the hours of its events, such as 2025-10-05T14.
        newest: its newest event; None for the catalogue, and in older lakes.
        arrived: when it was taken in.
        contract: the version of the contract that judged it.
        problem: what Great Expectations found in it; empty if nothing.
    """

    id: str
    feed: str
    source: str
    file: str
    rows: Mapping[str, int]
    by_rule: Mapping[str, int]
    hours: tuple[str, ...]
    newest: datetime | None
    arrived: datetime
    contract: str
    problem: str

    @property
    def lag(self) -> timedelta | None:
        """From its newest event to its arrival; None if its newest event is unknown."""
        return None if self.newest is None else self.arrived - self.newest


@dataclass(frozen=True)
class Day:
    """What arrived of the events of one day (UTC).

    Attributes:
        day: the day.
        events: the number of its events.
        usual: the median of the days before that have events; None without any.
        hours: how many of its hours have events.
        batches: the batches that brought its events, newest first.
    """

    day: date
    events: int
    usual: float | None
    hours: int
    batches: tuple[Batch, ...]

    def rows(self, outcome: str) -> int:
        """Return a count of its batches."""
        return sum(batch.rows.get(outcome, 0) for batch in self.batches)


@dataclass(frozen=True)
class Volume:
    """The events of each hour or day, by source.

    Attributes:
        moments: the beginning of each hour or day, without a hole.
        sources: source to one number a moment; the sources with most events first.
    """

    moments: tuple[datetime, ...]
    sources: Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class ContractUse:
    """The time for which a version of a contract judged batches.

    Attributes:
        feed: whose contract it is.
        version: its version.
        since: when it judged its first batch.
        until: when it judged its newest batch.
        batches: how many batches it judged.
        rows: how many rows they had.
    """

    feed: str
    version: str
    since: datetime
    until: datetime
    batches: int
    rows: int


def read_batches(source: Source) -> tuple[Batch, ...]:
    """Return the newest batches of all feeds, newest first; they are read once for all visitors."""
    return source.once("batches", tuple(FEEDS.values()), lambda: _read_batches(source.lake))


def _read_batches(lake: LakeReader) -> tuple[Batch, ...]:
    found = [batch for feed, table in FEEDS.items() for batch in _of_feed(lake, feed, table)]
    return tuple(sorted(found, key=lambda batch: batch.arrived, reverse=True))


def _of_feed(lake: LakeReader, feed: str, table: str) -> Iterable[Batch]:
    stored = lake.dataset(table)
    if stored is None:
        return
    rows = lake.scan(table, [name for name in _COLUMNS if name in stored.schema.names])
    newest = rows.sort_by([("finished_at", "descending")]).slice(0, MOST_BATCHES)
    for row in newest.to_pylist():
        yield Batch(
            id=row["batch_id"],
            feed=feed,
            source=named(row["source"] or ""),
            file=one_line((row["source_file"] or "").rstrip("/").rpartition("/")[2]),
            rows={count: row.get(f"rows_{count}") or 0 for count in _COUNTS},
            by_rule=json.loads(row.get("quarantined_by_rule") or "{}"),
            hours=tuple(row.get("hours") or ()),
            newest=row.get("newest"),
            arrived=row["finished_at"],
            contract=row.get("contract_version") or "unknown",
            problem=one_line(row.get("gx_problem") or ""),
        )


def read_days(source: Source, today: date) -> list[Day]:
    """Return yesterday, and the newest day with events if that is another day than today or yesterday."""
    yesterday = today - timedelta(days=1)
    batches = read_batches(source)
    rows = source.once("rows of events", [EVENTS], lambda: source.lake.rows_by_day(EVENTS))
    newest = max(rows, default=None)
    days = [yesterday, *([newest] if newest is not None and newest not in (today, yesterday) else [])]
    return [_day(day, rows, batches) for day in days]


def _day(day: date, rows: Mapping[date, int], batches: Sequence[Batch]) -> Day:
    before = [rows[one] for one in rows if 0 < (day - one).days <= DAYS_BEFORE]
    own = [
        batch
        for batch in batches
        if batch.feed == "events" and any(hour.startswith(day.isoformat()) for hour in batch.hours)
    ]
    hours = {hour for batch in own for hour in batch.hours if hour.startswith(day.isoformat())}
    return Day(day, rows.get(day, 0), median(before) if before else None, len(hours), tuple(own))


def read_volume(source: Source, every: Every) -> Volume | None:
    """Return the events of the newest days by source, for each hour or day; None without events."""
    return source.once(
        ("volume", every),
        (EVENTS, *FEEDS.values()),
        lambda: _read_volume(source.lake, every, read_batches(source)),
    )


def _read_volume(lake: LakeReader, every: Every, batches: Sequence[Batch]) -> Volume | None:
    rows = lake.rows_by_day(EVENTS)
    if not rows:
        return None
    last = max(rows)
    first = max(min(rows), last - timedelta(days=SHOWN[every] - 1))
    sources = {batch.id: batch.source for batch in batches}
    step = timedelta(hours=1) if every == "hour" else timedelta(days=1)
    begin, end = _midnight(first), _midnight(last + timedelta(days=1))
    moments = tuple(begin + step * number for number in range(int((end - begin) / step)))
    counted: Counter[tuple[str, datetime]] = Counter()
    dataset = lake.require(EVENTS)
    with read_tables(lake.url, events=dataset) as connection:
        found = connection.execute(
            f"SELECT date_trunc('{every}', occurred_at) AS began, batch_id, count(*) FROM events "
            "WHERE event_date BETWEEN $first AND $last GROUP BY ALL",
            {"first": first, "last": last},
        ).fetchall()
    for began, batch, count in found:
        counted[sources.get(batch, OTHERS), began.astimezone(UTC)] += count
    return Volume(moments, _lines(counted, moments))


def _lines(counted: Counter[tuple[str, datetime]], moments: Sequence[datetime]) -> dict[str, list[int]]:
    """Return a line for each of the largest sources, and one for all others."""
    totals: Counter[str] = Counter()
    for (name, _), count in counted.items():
        totals[name] += count
    shown = [name for name, _ in totals.most_common(MOST_LINES - 1) if name != OTHERS]
    lines = {name: [counted[name, moment] for moment in moments] for name in shown}
    others = [name for name in totals if name not in shown]
    if others:
        lines[OTHERS] = [sum(counted[name, moment] for name in others) for moment in moments]
    return lines


def contract_uses(batches: Iterable[Batch]) -> list[ContractUse]:
    """Return for each feed the versions of its contract, the newest use first."""
    uses: dict[tuple[str, str], list[Batch]] = {}
    for batch in batches:
        uses.setdefault((batch.feed, batch.contract), []).append(batch)
    found = [
        ContractUse(
            feed=feed,
            version=version,
            since=min(batch.arrived for batch in own),
            until=max(batch.arrived for batch in own),
            batches=len(own),
            rows=sum(batch.rows["in"] for batch in own),
        )
        for (feed, version), own in uses.items()
    ]
    return sorted(found, key=lambda use: use.until, reverse=True)


def read_gaps(lake: LakeReader) -> list[dict[str, Any]]:
    """Return the offsets of topics that were deleted before they were read, the newest first."""
    rows: list[dict[str, Any]] = lake.scan(GAPS).to_pylist()
    return sorted(rows, key=lambda row: row["noticed_at"], reverse=True)


def read_refused(lake: LakeReader) -> list[dict[str, Any]]:
    """Return the refused files, the newest refusal first; of an address the last part is shown."""
    if lake.version(REFUSED_FILES) is None:
        return []
    rows = lake.scan(REFUSED_FILES, ["url", "source", "reason", "size", "refused_at"]).to_pylist()
    shown = [
        {**row, "url": one_line(row["url"].rpartition("/")[2]), "source": named(row["source"] or "")}
        for row in rows
    ]
    return sorted(shown, key=lambda row: row["refused_at"], reverse=True)


def short_names(sources: Iterable[str]) -> dict[str, str]:
    """Return a short name for each source, its format and the end of its address, if that is clear."""
    full = list(sources)
    short = {name: _short(name) for name in full}
    counts = Counter(short.values())
    return {name: short[name] if counts[short[name]] == 1 else name for name in full}


def _short(source: str) -> str:
    kind, _, address = source.partition(" ")
    parts = address.rstrip("/").split("/")
    return f"{kind} {'/'.join(parts[-2:])}" if len(parts) > 2 else source


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
