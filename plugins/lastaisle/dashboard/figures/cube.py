"""The shop's figures without positions: small sums that follow the table `shop_metrics` day by day.

The table holds a row for each hour, position and kind of list: millions of rows a year. The pages need sums
by day, and sums by hour of the last weeks. Both keep the columns of the table, so the functions that read the
table read these sums too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from lastaisle.baseline.hours import CONTROL
from lastaisle.dashboard.kept import form_of
from lastaisle.lake.remade import blocks_of
from lastaisle.lake.table_state import file_of
from lastaisle.lake.tables import SHOP_METRICS, SHOP_METRICS_SCHEMA
from lastaisle.lake.workspace import open_tables
from lastaisle.monitor.alerts.shop.judge import HOURS_READ

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from lastaisle.dashboard.source import Source
    from lastaisle.lake.lake import Lake

HOURS_KEPT: Final = 35
"""Sums by hour are kept for so many days before the newest."""
WATCHED_DAYS: Final = HOURS_READ // 24
"""Sums by hour, placement and segment are kept for so many days: those that alerts judge by."""
_BLOCK: Final = 14  # days that are read at once
_KEYS: Final = ("placement", "model_version", "policy", "experiment", "arm", "segment", "currency")
_WATCHED: Final = ("placement", "segment", "currency")
_OTHERS: Final = frozenset({"hour", "event_date", "position", *_KEYS})
_SUMS: Final = ", ".join(
    f"sum({field.name})::{'DOUBLE' if pa.types.is_floating(field.type) else 'BIGINT'} AS {field.name}"
    for field in SHOP_METRICS_SCHEMA
    if field.name not in _OTHERS
)
# Rows with a position count items, rows without one count sessions: one position stands for all.
_SQL: Final = f"""
SELECT {{moment}} AS hour, {{keys}}, CASE WHEN position IS NULL THEN NULL ELSE 1 END AS position,
    event_date, {_SUMS}
FROM {{table}} GROUP BY ALL
"""
# The lists that nobody chose for an experiment: those of the champion; see lastaisle.baseline.hours.
_SERVING: Final = f"""
SELECT hour, arg_max(model_version, lists) AS version, any_value(event_date) AS event_date
FROM (
    SELECT hour, model_version, event_date, sum(lists) AS lists
    FROM stored
    WHERE position IS NULL AND currency IS NULL AND policy = 'model' AND model_version IS NOT NULL
        AND (experiment IS NULL OR (experiment LIKE 'canary-%' AND arm = '{CONTROL}'))
    GROUP BY ALL HAVING sum(lists) > 0
)
GROUP BY hour ORDER BY hour
"""

_FORM: Final = form_of(
    SHOP_METRICS_SCHEMA.to_string(), _SQL, _SERVING, f"{HOURS_KEPT} {WATCHED_DAYS} {_WATCHED}"
)


@dataclass(frozen=True)
class Cube:
    """The sums, at one version of the table.

    Attributes:
        version: the version of the table.
        table_id: names the table; a table that was made anew has another one.
        states: each day with a digest of its files; see `LakeReader.day_states`.
        days: a row a day and kind of list, with the columns of `shop_metrics`; `hour` is midnight.
        hours: a row an hour and kind of list, of the last HOURS_KEPT days.
        watched: a row an hour, placement and segment, of the last WATCHED_DAYS days; the columns name no
            version, policy or experiment.
        serving: for each hour the version that made most of the lists outside of experiments.
    """

    version: int
    table_id: str
    states: Mapping[date, str]
    days: pa.Table
    hours: pa.Table
    watched: pa.Table
    serving: pa.Table

    @property
    def tables(self) -> tuple[pa.Table, ...]:
        """The tables, in this order."""
        return self.days, self.hours, self.watched, self.serving

    def begins(self) -> list[tuple[datetime, str]]:
        """Return the hours in which another version began to serve than the hour before, in order."""
        found: list[tuple[datetime, str]] = []
        for hour, version in zip(
            *(self.serving[name].to_pylist() for name in ("hour", "version")), strict=True
        ):
            if not found or found[-1][1] != version:
                found.append((hour.astimezone(UTC), version))
        return found

    def values(self, column: str) -> list[str]:
        """Return the values of a column, in order."""
        return sorted(value for value in pc.unique(self.days[column]).to_pylist() if value is not None)

    @property
    def newest_day(self) -> date:
        """The last day with figures."""
        day: date = pc.max(self.days["event_date"]).as_py()
        return day

    @property
    def end(self) -> datetime:
        """The moment after the last hour with figures."""
        newest: datetime = pc.max(self.hours["hour"]).as_py()
        return newest.astimezone(UTC) + timedelta(hours=1)

    @property
    def first(self) -> datetime:
        """The first day with figures."""
        oldest: datetime = pc.min(self.days["hour"]).as_py()
        return oldest.astimezone(UTC)


def shop_cube(source: Source) -> Cube | None:
    """Return the sums; only days that changed are read again, also after a start. None without figures."""
    return source.follow("cube", [SHOP_METRICS], lambda former: _follow(source, former))


def _follow(source: Source, former: Cube | None) -> Cube | None:
    """Return the newest sums, and keep them in a file."""
    path = file_of(source.files.folder, "shop", source.lake.url, ".figures")
    known = former or source.files.load(path, _FORM, _from_bytes)
    newest = read_cube(source.lake, known)
    if newest is not None and (known is None or newest.states != known.states):
        source.files.save(path, _FORM, _to_bytes(newest))
    return newest


def read_cube(lake: Lake, former: Cube | None = None) -> Cube | None:
    """Read the days of the table that changed since a former cube.

    Raises:
        LakeUnusableError: the table cannot be read.
    """
    table = lake.table(SHOP_METRICS)
    states = {} if table is None else lake.day_states(SHOP_METRICS, int(table.version()))
    if table is None or not states:
        return None
    version, table_id = int(table.version()), str(table.metadata().id)
    newest = max(states)
    if former is not None and (former.table_id != table_id or max(former.states) > newest):
        former = None
    known = {} if former is None else former.states
    changed = sorted({day for day, _ in states.items() ^ known.items()})
    read = [_read_block(lake, version, block, newest) for block in blocks_of(changed, _BLOCK)]
    if former is not None:
        kept = pc.is_in(pc.field("event_date"), pa.array(changed, pa.date32()))
        read.append(_Sums(*(table.filter(~kept) for table in former.tables)))
    days, hours, watched, serving = (pa.concat_tables(tables) for tables in zip(*read, strict=True))
    if not days.num_rows:
        return None
    return Cube(
        version,
        table_id,
        states,
        days.combine_chunks(),
        hours.filter(_since(newest, HOURS_KEPT)).combine_chunks(),
        watched.filter(_since(newest, WATCHED_DAYS)).combine_chunks(),
        serving.sort_by("hour"),
    )


def _to_bytes(cube: Cube) -> bytes:
    """Return a cube as a file keeps it: a line of JSON, and a stream of Arrow for each table."""
    states = {day.isoformat(): state for day, state in cube.states.items()}
    note = {"version": cube.version, "table_id": cube.table_id, "states": states}
    sink = pa.BufferOutputStream()
    sink.write(json.dumps(note).encode() + b"\n")
    for table in cube.tables:
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        with pa.ipc.new_stream(sink, table.schema, options=options) as stream:
            stream.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def _from_bytes(content: bytes) -> Cube:
    """Return the cube that a file keeps."""
    line, _, streams = content.partition(b"\n")
    note = json.loads(line)
    reader = pa.BufferReader(streams)
    tables = [pa.ipc.open_stream(reader).read_all() for _ in _Sums._fields]
    states = {date.fromisoformat(day): state for day, state in note["states"].items()}
    return Cube(note["version"], note["table_id"], states, *tables)


class _Sums(NamedTuple):
    """The sums of some days; see Cube."""

    days: pa.Table
    hours: pa.Table
    watched: pa.Table
    serving: pa.Table


def _since(newest: date, days: int) -> pc.Expression:
    """Choose the rows of the newest days."""
    return pc.field("event_date") >= newest - timedelta(days=days - 1)


def _read_block(lake: Lake, version: int, block: tuple[date, date], newest: date) -> _Sums:
    """Sum up successive days; by hour only the days that are kept before the newest day of the table."""
    first, last = block
    where = (pc.field("event_date") >= first) & (pc.field("event_date") <= last)
    rows = lake.scan(SHOP_METRICS, where=where, version=version)
    hourly = {"recent": rows.filter(_since(newest, HOURS_KEPT))}
    hourly["watched"] = rows.filter(_since(newest, WATCHED_DAYS))
    with open_tables(stored=rows, **hourly) as connection:
        return _Sums(
            _sum(connection, "stored", "date_trunc('day', hour)"),
            _sum(connection, "recent", "hour"),
            _sum(connection, "watched", "hour", _WATCHED),
            connection.sql(_SERVING).to_arrow_table(),
        )


def _sum(
    connection: DuckDBPyConnection, table: str, moment: str, told_apart: Sequence[str] = _KEYS
) -> pa.Table:
    keys = ", ".join(name if name in told_apart else f"NULL AS {name}" for name in _KEYS)
    sums = connection.sql(_SQL.format(moment=moment, keys=keys, table=table)).to_arrow_table()
    return sums.select(SHOP_METRICS_SCHEMA.names).cast(SHOP_METRICS_SCHEMA)
