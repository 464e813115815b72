"""What the page Today shows: the champion, how fresh the data is, and the newest decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from statistics import median
from typing import TYPE_CHECKING, Final

import pyarrow.compute as pc

from lastaisle.dashboard.figures.moves import read_moves
from lastaisle.lake.tables import (
    BATCHES,
    CATALOGUE_BATCHES,
    EVENTS,
    EXPOSURE_BATCHES,
    EXPOSURES,
    ITEMS,
    RELEASES,
)
from lastaisle.registry.ledger import REGISTER, Move
from lastaisle.release.fate import Served, served_times
from lastaisle.sessions.windows import newest_data_end

if TYPE_CHECKING:
    from lastaisle.dashboard.source import Source

NEWEST_MOVES: Final = 5
DAYS_BEFORE: Final = 7
"""The rows of the last day are compared with the median of so many days before."""
DAYS_DRAWN: Final = 28
_SECOND: Final = timedelta(seconds=1)


@dataclass(frozen=True)
class Champion:
    """The version that serves.

    Attributes:
        version: its number.
        since: since when it serves.
        run_id: the run that trained it.
        reason: why it became champion.
        before: the version that served before; None if it is the first.
    """

    version: str
    since: datetime
    run_id: str
    reason: str
    before: str | None


@dataclass(frozen=True)
class Arrivals:
    """How fresh one kind of data is.

    Attributes:
        name: of the data.
        newest: the moment of its newest row; None if the data does not say, or none came.
        arrived: when the last batch was taken in; None if none came.
        table: the table of the batches.
    """

    name: str
    newest: datetime | None
    arrived: datetime | None
    table: str


@dataclass(frozen=True)
class Volume:
    """The events of the last day beside those of the days before.

    Attributes:
        rows: day to the number of its events, the last days in order; a day without events has 0.
    """

    rows: Mapping[date, int]

    @property
    def day(self) -> date:
        """The last day with events."""
        return max(self.rows)

    @property
    def usual(self) -> float | None:
        """The median of the days before; None without any."""
        before = [count for day, count in self.rows.items() if 0 < (self.day - day).days <= DAYS_BEFORE]
        return median(before) if before else None

    @property
    def days_before(self) -> int:
        """How many days the median is of."""
        return min(DAYS_BEFORE, len(self.rows) - 1)


def read_champion(source: Source) -> Champion | None:
    """Return the version that serves; it is computed once for all pages."""
    return source.once("champion", [RELEASES], lambda: find_champion(read_moves(source)))


def find_champion(moves: Sequence[Move]) -> Champion | None:
    """Return the version that serves; None before the first promotion.

    Args:
        moves: all moves of the ledger, oldest first.
    """
    times = served_times(moves)
    serving: Served | None = next((time for time in times if time.until is None), None)
    if serving is None:
        return None
    began = serving.began
    return Champion(serving.version, serving.since, began.run_id, began.reason or "", began.from_version)


def newest_moves(moves: Sequence[Move]) -> list[Move]:
    """Return the newest of the moves, the newest first; registrations are no decisions."""
    decisions = [move for move in moves if move.action != REGISTER]
    return decisions[: -NEWEST_MOVES - 1 : -1]


def find_arrivals(source: Source) -> list[Arrivals]:
    """Return how fresh events, exposures and the catalogue are; data that never came is left out."""
    found = [
        _arrivals(source, "Events", BATCHES, EVENTS),
        _arrivals(source, "Exposures", EXPOSURE_BATCHES, EXPOSURES),
        _arrivals(source, "Catalogue", CATALOGUE_BATCHES, ITEMS),
    ]
    return [one for one in found if one is not None]


def _arrivals(source: Source, name: str, batches: str, table: str) -> Arrivals | None:
    lake = source.lake
    dataset = lake.dataset(batches)
    if dataset is None:
        return None
    columns = [column for column in ("newest", "finished_at") if column in dataset.schema.names]
    rows = lake.scan(batches, columns)
    if not rows.num_rows:
        return None
    newest = {column: pc.max(rows[column]).as_py() for column in columns}
    moment: datetime | None = newest.get("newest")
    if table == EVENTS and lake.rows_by_day(EVENTS):
        moment = newest_data_end(lake) - _SECOND
    return Arrivals(name, moment, newest.get("finished_at"), batches)


def find_volume(source: Source) -> Volume | None:
    """Return the number of events of the last days; None without events."""
    rows = source.lake.rows_by_day(EVENTS)
    if not rows:
        return None
    last = max(rows)
    first = max(min(rows), last - timedelta(days=DAYS_DRAWN - 1))
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    return Volume({day: rows.get(day, 0) for day in days})
