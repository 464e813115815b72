"""Which versions of its sources a table of outcomes was made from, and which days have to be made again."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final

from lastaisle.errors import NotEnoughDataError
from lastaisle.feedback.outcomes.reach import Reach, number_of
from lastaisle.lake.expiry import days_with_expired_rows
from lastaisle.lake.tables import EVENTS, EXPOSURES, OUTCOMES, UNATTRIBUTED
from lastaisle.sessions.windows import newest_data_end

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake

SOURCES: Final = (EVENTS, EXPOSURES)
MADE: Final = (OUTCOMES, UNATTRIBUTED)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# The version and the identity of a table that was never written.
_NO_VERSION: Final = -1
_NO_TABLE: Final = 0


@dataclass(frozen=True)
class Snapshot:
    """The versions of all tables that one run reads, and what was true then.

    Attributes:
        versions: the version of each table; a table that was never written is absent.
        identities: a number for each table of the sources. A table that was made anew has another number.
        data_end: the moment after the newest event; None without events.
        reach: the spans of time that attribution uses.
    """

    versions: dict[str, int]
    identities: dict[str, int]
    data_end: datetime | None
    reach: Reach

    @classmethod
    def take(cls, lake: Lake, reach: Reach) -> Snapshot:
        """Read the newest versions. The tables that attribution makes come first, so none is newer."""
        versions = lake.versions(MADE) | lake.versions(SOURCES)
        identities = {}
        for name in SOURCES:
            table = lake.table(name, versions[name]) if name in versions else None
            identities[name] = _NO_TABLE if table is None else number_of(str(table.metadata().id))
        return cls(versions, identities, _data_end(lake, versions.get(EVENTS)), reach)

    def days_of(self, lake: Lake, name: str) -> set[date]:
        """Return all days of a table."""
        return set(lake.days_changed(name, None, self.versions[name])) if name in self.versions else set()

    def stamps(self) -> dict[str, int]:
        """Return this state as the stamps that a commit of outcomes carries."""
        stamps = {"attribution:settings": self.reach.fingerprint, "attribution:data_end": self._end()}
        for name in SOURCES:
            stamps[f"attribution:{name}:table"] = self.identities[name]
            stamps[f"attribution:{name}:version"] = self.versions.get(name, _NO_VERSION)
        return stamps

    def stamps_of(self, lake: Lake, made: str) -> dict[str, int | None]:
        """Return the stamps of the newest commit of a table that attribution made."""
        table = lake.table(made, self.versions[made]) if made in self.versions else None
        return {key: None if table is None else table.transaction_version(key) for key in self.stamps()}

    def affected_days(self, lake: Lake, made: str) -> set[date] | None:
        """Return the days of a table of outcomes that the news of the sources affect; None means all days."""
        stamps = self.stamps_of(lake, made)
        if stamps["attribution:settings"] != self.reach.fingerprint:
            return None
        changed = {}
        for name in SOURCES:
            identity = stamps[f"attribution:{name}:table"]
            if identity not in (_NO_TABLE, self.identities[name]):
                return None  # the rows of the table that was there before are not known any more
            since = stamps[f"attribution:{name}:version"] if identity != _NO_TABLE else None
            is_there = name in self.versions
            changed[name] = lake.days_changed(name, since, self.versions[name]) if is_there else []
        days = self.reach.of_changed_exposures(changed[EXPOSURES])
        # Outcomes of a day whose events expired stay as they were attributed, until their exposures expire.
        days |= self.reach.of_changed_events(self._whole(lake, changed[EVENTS]))
        ends = sorted({stamps["attribution:data_end"] or 0, self._end()})
        if len(ends) > 1 and ends[0]:
            before, end = (_EPOCH + timedelta(microseconds=number) for number in ends)
            days |= self.reach.of_time_passed(before, end)
        return days

    def _whole(self, lake: Lake, days: Collection[date]) -> list[date]:
        expired = days_with_expired_rows(lake, EVENTS, days) if EVENTS in self.versions else set()
        return [day for day in days if day not in expired]

    def _end(self) -> int:
        return 0 if self.data_end is None else (self.data_end - _EPOCH) // timedelta(microseconds=1)


def _data_end(lake: Lake, version: int | None) -> datetime | None:
    if version is None:
        return None
    try:
        return newest_data_end(lake, version)
    except NotEnoughDataError:
        return None
