"""Which rows of a table have expired: their age against the days that the contract or the settings allow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from data_contracts.retention import Retention
from lastaisle.lake.query import Query
from lastaisle.lake.tables import PARTITIONS
from lastaisle.lake.workspace import open_workspace

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from lastaisle.lake.lake import Lake

#: An event may be dated some minutes after its ingestion, and never more than a day.
_AHEAD: Final = timedelta(days=1)


@dataclass(frozen=True)
class Ages:
    """How old the rows of a table are.

    Attributes:
        rows: the number of rows.
        oldest: the time from which the age of the oldest row counts; None if no row has one.
        expired: the rows that are older than allowed.
        unknown: the rows whose age nothing tells. They are kept.
    """

    rows: int
    oldest: datetime | None
    expired: int
    unknown: int


@dataclass(frozen=True)
class Expiry:
    """The expired rows of one version of a table.

    Attributes:
        retention: says from which column the age follows.
        before: rows of an earlier time have expired, except rows that nothing replaced; a UTC midnight.
        version: the version of the table.
    """

    retention: Retention
    before: datetime
    version: int

    @classmethod
    def of(cls, retention: Retention, days: int, now: datetime, version: int) -> Expiry:
        """Return the expiry of rows that are older than some days, by whole UTC days."""
        midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return cls(retention, midnight - timedelta(days=days), version)

    def count(self, lake: Lake) -> tuple[int, list[date]]:
        """Return the number of expired rows, and their days if the table is partitioned."""
        name = self.retention.table
        day = "event_date" if name in PARTITIONS else "NULL::DATE"
        with self._opened(lake) as connection:
            found = connection.execute(
                f"SELECT {day}, count(*) FROM aged WHERE {self._recent_files()} expired GROUP BY 1 ORDER BY 1"
            ).fetchall()
        return sum(count for _, count in found), [day for day, _ in found if day is not None]

    def ages(self, lake: Lake) -> Ages:
        """Return how old the rows are; all rows are read."""
        with self._opened(lake) as connection:
            rows, oldest, expired, unknown = connection.execute(
                "SELECT count(*), min(since), count(*) FILTER (WHERE expired), "
                "count(*) FILTER (WHERE since IS NULL AND NOT expired) FROM aged"
            ).fetchall()[0]
        return Ages(rows, oldest, expired, unknown)

    def delete(self, lake: Lake, days: list[date]) -> None:
        """Delete the expired rows in one commit, which says of which days.

        Raises:
            LakeConflictError: the table is no longer at the version.
        """
        name = self.retention.table
        schema = lake.require(name, self.version).schema
        columns = ", ".join(f'"{column}"' for column in schema.names)
        rows_to_keep = f"SELECT {columns} FROM aged WHERE NOT expired"
        with self._opened(lake) as connection:
            if name in PARTITIONS:
                marks = {day_mark(day): self.version + 1 for day in days}
                query = Query(connection, rows_to_keep, schema, days)
                lake.replace_days(name, query, if_version=self.version, also=marks)
            else:
                kept = connection.sql(rows_to_keep).to_arrow_table().cast(schema)
                key = f"retention:{self.before:%Y-%m-%d}:{self.version}"
                lake.overwrite(name, kept, key=key, if_version=self.version)

    def _recent_files(self) -> str:
        """Return the condition by which files of later days, whose rows cannot have expired, are not read."""
        if self.retention.table not in PARTITIONS:
            return ""
        return f"event_date <= DATE '{(self.before + _AHEAD).date()}' AND"

    @contextmanager
    def _opened(self, lake: Lake) -> Iterator[DuckDBPyConnection]:
        """Open DuckDB with the view `aged`: the rows, the time of each row, and whether it expired."""
        stored = lake.require(self.retention.table, self.version)
        with open_workspace(writes_to=lake.url) as connection:
            connection.register("stored", stored)
            # "stored" comes first, so that the columns of the view are the columns of the table and two more.
            connection.execute(
                f"CREATE TEMP VIEW aged AS {self._aged(lake, connection, stored.schema.names)}"
            )
            yield connection

    def _aged(self, lake: Lake, connection: DuckDBPyConnection, columns: list[str]) -> str:
        retention, limit = self.retention, f"TIMESTAMPTZ '{self.before:%Y-%m-%dT%H:%M:%SZ}'"
        unknown = "SELECT *, NULL::TIMESTAMPTZ AS since, false AS expired FROM stored"
        if retention.column not in columns:
            return unknown
        if retention.age_of is None:
            since = f'"{retention.column}"'
            expired = f"coalesce({since} < {limit}, false) AND {self._replaced()}"
            return f"SELECT *, {since} AS since, {expired} AS expired FROM stored"
        source, time_column = retention.age_of
        dataset = lake.dataset(source)
        if dataset is None or not {retention.column, time_column} <= set(dataset.schema.names):
            return unknown
        connection.register("source", dataset)
        connection.execute(
            f'CREATE TEMP TABLE times AS SELECT "{retention.column}" AS row_name, '
            f'max("{time_column}") AS since FROM source GROUP BY 1'
        )
        missing = "times.row_name IS NULL" if retention.gone_expired else "false"
        return (
            f"SELECT stored.*, times.since, coalesce(times.since < {limit}, {missing}) AS expired "
            f'FROM stored LEFT JOIN times ON stored."{retention.column}" = times.row_name'
        )

    def _replaced(self) -> str:
        """Return the condition that a newer row has the same values; true if the contract asks for none."""
        names = self.retention.replaced_by
        if not names:
            return "true"
        keys = ", ".join(f'"{name}"' for name in names)
        without = " OR ".join(f'"{name}" IS NULL' for name in names)
        newest = f'row_number() OVER (PARTITION BY {keys} ORDER BY "{self.retention.column}" DESC)'
        return f"({without} OR {newest} > 1)"


def day_mark(day: date) -> str:
    """Return the name of the stamp by which a table tells that rows of a day expired."""
    return f"retention:{day}"


def days_with_expired_rows(lake: Lake, name: str, days: Iterable[date]) -> set[date]:
    """Return those of some days that lost rows because they expired; they are no longer whole."""
    asked = sorted(set(days))
    lacking = set(lake.lacking(name, [day_mark(day) for day in asked]))
    return {day for day in asked if day_mark(day) not in lacking}


def days_allowed(retention: Retention, replaced: Mapping[str, Any]) -> int | None:
    """Return the days of the settings, else the days of the contract; None keeps rows for ever."""
    days = replaced.get(retention.table, retention.days)
    return days or None
