"""Count the outcomes into the table `shop_metrics`: only the days that changed, and in one commit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Final

from lastaisle.feedback.metrics.count_sql import EVENT_COLUMNS, STEPS
from lastaisle.lake.expiry import days_with_expired_rows
from lastaisle.lake.query import Query
from lastaisle.lake.remade import blocks_of, differing_days
from lastaisle.lake.retries import ATTEMPTS, retry_conflicts
from lastaisle.lake.tables import EVENTS, OUTCOMES, SHOP_METRICS, SHOP_METRICS_SCHEMA
from lastaisle.lake.workspace import make_view, open_workspace
from lastaisle.privacy.consents import countable
from lastaisle.sessions.windows import SESSION_REACH

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from lastaisle.lake.lake import Lake

Progress = Callable[[float, str], None]

DAY: Final = timedelta(days=1)
MOST_DAYS: Final = 3  # are counted by one query, so that memory stays bounded
#: A session of a day may have its first list, or its last event, on these days around it.
_DAYS_BEFORE, _DAYS_AFTER = 2, 1
_SOURCES = (OUTCOMES, EVENTS)


@dataclass(frozen=True)
class MetricsReport:
    """The days that were counted, and the days whose counts changed.

    Attributes:
        days: the days (UTC) that were counted.
        changed_days: the days of which the table got other rows.
        exposures: the exposures of the counted days.
        sessions: the sessions of the counted days; a session counts once a placement.
        rows: the rows of the counted days.
        versions: the versions of `outcomes` and `events` that the table holds now.
    """

    days: tuple[date, ...]
    changed_days: tuple[date, ...]
    exposures: int
    sessions: int
    rows: int
    versions: Mapping[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON takes it."""
        days = {"days": self.days, "changed_days": self.changed_days}
        return asdict(self) | {name: [day.isoformat() for day in given] for name, given in days.items()}


@dataclass(frozen=True)
class _Sources:
    """The state of the tables from which the counts follow.

    Attributes:
        version: the version of `shop_metrics`.
        versions: the version of `outcomes` and of `events`, if there are any.
        stamps: the names of the stamps that hold these versions. A table that was made anew has other names.
    """

    version: int
    versions: Mapping[str, int]
    stamps: Mapping[str, str]


def count_metrics(
    lake: Lake, *, days: Iterable[date] | None = None, progress: Progress | None = None
) -> MetricsReport:
    """Bring the table `shop_metrics` up to date with the tables `outcomes` and `events`.

    The commit remembers which versions were counted. So a second call counts nothing, and a killed call is
    called again. Days whose counts stay as they are are not written.

    Args:
        lake: the lake with the tables.
        days: further days (UTC) that are counted anew, beside the days that changed.
        progress: is told the share of the work that is done.

    Raises:
        LakeConflictError: other writers won every attempt.
    """
    return retry_conflicts(ATTEMPTS)(_count, lake, tuple(days or ()), progress or (lambda *_: None))


def is_stale(lake: Lake) -> bool:
    """Tell whether outcomes or events changed since they were counted."""
    sources = _sources_of(lake)
    return OUTCOMES in sources.versions and _counted(lake, sources) != sources.versions


def _count(lake: Lake, days: tuple[date, ...], progress: Progress) -> MetricsReport:
    sources = _sources_of(lake)
    counted = _counted(lake, sources)
    if OUTCOMES not in sources.versions or (counted == sources.versions and not days):
        return MetricsReport((), (), 0, 0, 0, sources.versions)
    if sources.version < 0:
        lake.append(SHOP_METRICS, SHOP_METRICS_SCHEMA.empty_table(), key="made")
        sources = _sources_of(lake)
    due = _days_to_count(lake, sources, counted, days)
    with open_workspace(writes_to=lake.url) as connection:
        _open_sources(connection, lake, sources)
        blocks = list(blocks_of(due, MOST_DAYS))
        for number, (first, last) in enumerate(blocks):
            progress(number / len(blocks), f"{first} to {last}")
            _count_days(connection, first, last)
        changed = differing_days(connection, "counted", "known", SHOP_METRICS_SCHEMA, due)
        query = Query(connection, "SELECT * FROM counted", SHOP_METRICS_SCHEMA, changed)
        stamps = {sources.stamps[name]: version for name, version in sources.versions.items()}
        lake.replace_days(SHOP_METRICS, query, if_version=sources.version, exclusive=True, also=stamps)
        sums = "SELECT coalesce(sum(exposures), 0), coalesce(sum(sessions), 0), count(*) FROM counted"
        exposures, sessions, rows = map(int, connection.execute(sums).fetchall()[0])
    return MetricsReport(tuple(due), tuple(changed), exposures, sessions, rows, sources.versions)


def _sources_of(lake: Lake) -> _Sources:
    version = lake.version(SHOP_METRICS)
    tables = {name: table for name in _SOURCES if (table := lake.table(name)) is not None}
    return _Sources(
        -1 if version is None else version,
        {name: int(table.version()) for name, table in tables.items()},
        {name: f"{name} {table.metadata().id}" for name, table in tables.items()},
    )


def _counted(lake: Lake, sources: _Sources) -> dict[str, int]:
    """Return the versions that were counted, of the tables that are there."""
    stamps = {name: lake.stamp(SHOP_METRICS, stamp) for name, stamp in sources.stamps.items()}
    return {name: stamp for name, stamp in stamps.items() if stamp is not None}


def _days_to_count(
    lake: Lake, sources: _Sources, counted: Mapping[str, int], days: tuple[date, ...]
) -> list[date]:
    """Return the days whose counts may have changed, among the days with outcomes or with counts.

    A day that has counts keeps them when its outcomes or its events expire.
    """
    changed = set(days)
    for name, version in sources.versions.items():
        for day in lake.days_changed(name, counted.get(name), version):
            changed |= {day + DAY * number for number in range(-_DAYS_AFTER, _DAYS_BEFORE + 1)}
    with_outcomes = set(lake.days_changed(OUTCOMES, None, sources.versions[OUTCOMES]))
    with_counts = set(lake.days_changed(SHOP_METRICS, None, sources.version))
    gone = with_counts - with_outcomes
    due = (changed & with_outcomes) | gone
    return sorted(due - _days_that_expired(lake, sources, due & with_counts))


def _days_that_expired(lake: Lake, sources: _Sources, days: Iterable[date]) -> set[date]:
    """Return the days of which not all rows are there any more that were counted."""
    reach = {day: [day + DAY * number for number in range(-_DAYS_BEFORE, _DAYS_AFTER + 1)] for day in days}
    read = {each for those in reach.values() for each in those}
    gone = {each for name in sources.versions for each in days_with_expired_rows(lake, name, read)}
    return {day for day, those in reach.items() if not gone.isdisjoint(those)}


def _open_sources(connection: DuckDBPyConnection, lake: Lake, sources: _Sources) -> None:
    """Make the tables known to DuckDB at their versions, and make the empty table of counts."""
    events = lake.dataset(EVENTS, sources.versions[EVENTS]) if EVENTS in sources.versions else None
    make_view(connection, EVENTS, countable(events), EVENT_COLUMNS)
    connection.register("outcomes", lake.require(OUTCOMES, sources.versions[OUTCOMES]))
    connection.register("known", lake.require(SHOP_METRICS, sources.version))
    connection.register("empty", SHOP_METRICS_SCHEMA.empty_table())
    connection.execute("CREATE TEMP TABLE counted AS SELECT * FROM empty")


def _count_days(connection: DuckDBPyConnection, first: date, last: date) -> None:
    values: dict[str, Any] = {
        "first": first,
        "last": last,
        "shown_from": first - DAY * _DAYS_BEFORE,
        "events_from": first - DAY,
        "read_until": last + DAY * _DAYS_AFTER,
        "reach": SESSION_REACH,
    }
    for step in STEPS:
        connection.execute(step, {name: value for name, value in values.items() if f"${name}" in step})
