"""Read the table `shop_metrics`: sums by hour, day or week, and the rates that follow from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from lastaisle.errors import NotEnoughDataError
from lastaisle.feedback.metrics.figures import (
    EVERY,
    ITEM_COUNTS,
    MEANS,
    SESSION_COUNTS,
    SHARES,
    FiguresError,
    figures_schema,
    key_columns,
)
from lastaisle.feedback.metrics.intervals import mean, share
from lastaisle.lake.tables import EXPOSURES, OUTCOMES, SHOP_METRICS, TIMESTAMP
from lastaisle.lake.workspace import open_tables

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from lastaisle.lake.lake import Lake

Row = dict[str, Any]

HOUR = timedelta(hours=1)
_MONEY = ("revenue", "revenue_squares", "attributed_revenue")


class Reach(NamedTuple):
    """What the table of figures holds.

    Attributes:
        first: its first hour.
        last: the end of its last hour.
        placements: the placements, in order.
    """

    first: datetime
    last: datetime
    placements: list[str]


def figures_reach(lake: Lake) -> Reach:
    """Return the hours and the placements that the table of figures holds.

    Raises:
        NotEnoughDataError: the table is not there, or empty. The message names the command that fills it.
    """
    table = lake.table(SHOP_METRICS)
    found: tuple[Any, ...] = (None, None, None)
    if table is not None:
        with open_tables(figures=lake.dataset(SHOP_METRICS)) as connection:
            found = connection.execute(
                "SELECT min(hour), max(hour), list(DISTINCT placement ORDER BY placement) FROM figures"
            ).fetchall()[0]
    if found[0] is None:
        raise NotEnoughDataError(f"the lake {lake.url} has no figures of the shop yet: {_next_step(lake)}")
    first, last = (moment.astimezone(UTC) for moment in found[:2])
    return Reach(first, last + HOUR, found[2])


def read_metrics(
    lake: Lake,
    *,
    by: Sequence[str] = (),
    every: str | None = "day",
    since: datetime | None = None,
    until: datetime | None = None,
    placement: str | None = None,
) -> pa.Table:
    """Read the figures: counts, rates with 95 % intervals, and the revenue of each currency.

    A rate without a denominator is NULL. Shares have Wilson's interval, means a session the normal interval.
    Over several placements a session counts once for each of them.

    Args:
        lake: the lake with the table `shop_metrics`.
        by: names of `figures.BY`. By position, the figures of sessions are NULL.
        every: hour, day (UTC) or week (from Monday, UTC); None = one period.
        since: the first moment; its whole hour counts. Default: the first hour of the table.
        until: the moment after the last; an hour that has begun before it counts whole.
        placement: counts this placement only.

    Returns:
        A row a period and group, in order, with the columns of `figures.figures_schema`.

    Raises:
        FiguresError: `by` or `every` is unknown.
        NotEnoughDataError: there are no figures at all.
    """
    if every is not None and every not in EVERY:
        raise FiguresError(f"figures are counted by {', '.join(EVERY)}; received {every!r}")
    columns = key_columns(tuple(by))
    figures_reach(lake)
    by_position = "position" in columns
    return figures_of(_chosen(lake, since, until, placement, by_position=by_position), by=by, every=every)


def figures_of(chosen: pa.Table, *, by: Sequence[str] = (), every: str | None = "day") -> pa.Table:
    """Return the figures of some rows of the table `shop_metrics`, as `read_metrics` does.

    Args:
        chosen: the rows, or sums of rows that have the same columns.
        by: names of `figures.BY`. By position, the figures of sessions are NULL.
        every: hour, day (UTC) or week (from Monday, UTC); None = one period.

    Raises:
        FiguresError: a name of `by` is unknown.
    """
    columns = key_columns(tuple(by))
    by_position = "position" in columns
    if not chosen.num_rows:
        return figures_schema(columns, every).empty_table()
    keys = {"period": f"date_trunc('{every}', hour)"} if every else {}
    keys |= {column: column for column in columns}
    with open_tables(chosen=chosen) as connection:
        rows = _sum(connection, keys, _sums(by_position=by_position))
    with open_tables(chosen=chosen.filter(pc.field("currency").is_valid())) as connection:
        money = {name: f"sum({name})" for name in _MONEY}
        revenue = _sum(connection, {**keys, "currency": "currency"}, money)
    rows = _with_revenue([_with_rates(row) for row in rows], revenue, list(keys))
    return pa.Table.from_pylist(rows, figures_schema(columns, every))


def _next_step(lake: Lake) -> str:
    if lake.version(OUTCOMES) is None and lake.version(EXPOSURES) is None:
        return (
            "run `lastaisle exposures ingest`, which takes in the items shown, and then `lastaisle attribute`"
        )
    return "run `lastaisle attribute`, which joins exposures and events and counts them"


def _chosen(
    lake: Lake, since: datetime | None, until: datetime | None, placement: str | None, *, by_position: bool
) -> pa.Table:
    """Return the rows of the table that count."""
    where = pc.scalar(True)
    if since is not None:
        first = since.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        where &= (pc.field("event_date") >= first.date()) & (pc.field("hour") >= pa.scalar(first, TIMESTAMP))
    if until is not None:
        last = until.astimezone(UTC)
        where &= (pc.field("event_date") <= last.date()) & (pc.field("hour") < pa.scalar(last, TIMESTAMP))
    if placement is not None:
        where &= pc.field("placement") == placement
    if by_position:
        where &= pc.field("position").is_valid()
    return lake.scan(SHOP_METRICS, where=where)


def _sum(connection: DuckDBPyConnection, keys: Mapping[str, str], sums: Mapping[str, str]) -> list[Row]:
    """Return the sums of each group of the rows that count; `keys` and `sums` are SQL by name."""
    columns = ", ".join(f"{sql} AS {name}" for name, sql in {**keys, **sums}.items())
    sql = f"SELECT {columns} FROM chosen GROUP BY ALL ORDER BY ALL"
    rows: list[Row] = connection.sql(sql).to_arrow_table().to_pylist()
    return rows


def _sums(*, by_position: bool) -> dict[str, str]:
    """Return the SQL of each count. Sessions have no position: by position their counts are NULL."""
    # A row with a position counts items; a row without a position and without a currency counts sessions.
    items = {name: f"sum({name}) FILTER (WHERE position IS NOT NULL)" for name in ITEM_COUNTS}
    sessions = {name: f"sum({name}) FILTER (WHERE position IS NULL)" for name in SESSION_COUNTS}
    sessions["session_dwell_ms"] = "sum(dwell_ms) FILTER (WHERE position IS NULL)"
    sessions |= {squares: f"sum({squares})" for _, squares in MEANS.values()}
    sql = {name: f"coalesce({text}, 0)" for name, text in items.items()}
    sql |= {name: "NULL" if by_position else f"coalesce({text}, 0)" for name, text in sessions.items()}
    floats = ("session_seconds", *(squares for _, squares in MEANS.values()))
    return {name: f"({text})::{'DOUBLE' if name in floats else 'BIGINT'}" for name, text in sql.items()}


def _with_rates(row: Row) -> Row:
    """Return the counts of a group with their rates."""
    estimates = {name: share(row[part], row[whole]) for name, (part, whole) in SHARES.items()}
    estimates |= {
        name: mean(row[total], row[squares], row["sessions"]) for name, (total, squares) in MEANS.items()
    }
    rates = {
        f"{name}{end}": value
        for name, estimate in estimates.items()
        for end, value in zip(("", "_low", "_high"), estimate, strict=True)
    }
    dwell_seconds = row["dwell_ms"] / 1000 / row["viewed"] if row["viewed"] else None
    return {**row, **rates, "dwell_seconds": dwell_seconds}


def _with_revenue(rows: Sequence[Row], sums: Sequence[Row], keys: Sequence[str]) -> list[Row]:
    """Return the groups with their revenue: one entry for each currency that any of the groups has."""
    currencies = sorted({row["currency"] for row in sums})
    known = {(*(row[key] for key in keys), row["currency"]): row for row in sums}
    nothing = {"revenue": 0.0, "revenue_squares": 0.0, "attributed_revenue": 0.0}

    def entry(row: Row, currency: str) -> Row:
        own = known.get((*(row[key] for key in keys), currency), nothing)
        names = ("per_session", "per_session_low", "per_session_high")
        estimate = mean(own["revenue"], own["revenue_squares"], row["sessions"])
        money = {name: own[name] for name in ("revenue", "attributed_revenue")}
        return {"currency": currency, **money, **dict(zip(names, estimate, strict=True))}

    return [{**row, "revenue": [entry(row, currency) for currency in currencies]} for row in rows]
