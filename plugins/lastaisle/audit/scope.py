"""What an audit looks at, and how a check tells that a table is not there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from lastaisle.audit.finding import Finding, State
from lastaisle.lake.workspace import read_tables

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from lastaisle.lake.lake import Lake
    from lastaisle.settings import Settings


class NotKnown(Exception):  # noqa: N818 - it is an answer
    """A question that nothing answers yet; the message says why."""


@dataclass(frozen=True)
class Scope:
    """The installation and the days of an audit.

    Attributes:
        lake: the tables.
        settings: the settings of the installation.
        first_day: the first day (UTC).
        last_day: the last day.
        now: the moment from which ages count.
    """

    lake: Lake
    settings: Settings
    first_day: date
    last_day: date
    now: datetime

    @property
    def begin(self) -> datetime:
        """The begin of the first day."""
        return datetime.combine(self.first_day, time(), UTC)

    @property
    def end(self) -> datetime:
        """The end of the last day."""
        return datetime.combine(self.last_day + timedelta(days=1), time(), UTC)

    def rows(self, table: str, sql: str, *columns: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query over one table; `$begin`, `$end` and `$now` are the times of the audit.

        Args:
            table: the table, and its name in the query.
            sql: the query.
            *columns: columns that the query needs.

        Raises:
            NotKnown: the table was never written, or lacks a column.
        """
        with self.opened(table, *columns) as connection:
            times = {"begin": self.begin, "end": self.end, "now": self.now}
            used = {name: value for name, value in times.items() if f"${name}" in sql}
            found: list[tuple[Any, ...]] = connection.execute(sql, used).fetchall()
            return found

    @contextmanager
    def opened(self, table: str, *columns: str) -> Iterator[DuckDBPyConnection]:
        """Open DuckDB over one table.

        Raises:
            NotKnown: the table was never written, or lacks a column.
        """
        dataset = self.lake.dataset(table)
        if dataset is None:
            raise NotKnown(f"the table {table} was never written")
        if lacking := [name for name in columns if name not in dataset.schema.names]:
            raise NotKnown(f"the table {table} lacks {', '.join(lacking)}")
        with read_tables(self.lake.url, **{table: dataset}) as connection:
            yield connection


def not_known(section: str, name: str, why: object, evidence: str) -> Finding:
    """Return the finding that a question has no answer."""
    return Finding(section, name, State.NOT_KNOWN, f"Not known: {why}.", evidence)


def judged(is_kept: bool) -> State:
    """Return the state of a promise that is kept or not."""
    return State.OK if is_kept else State.FAILED
