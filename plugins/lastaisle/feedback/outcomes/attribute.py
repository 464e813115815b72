"""Find what followed from each exposure: the tables `outcomes` and `unattributed`."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict
from datetime import date
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from lastaisle.feedback.outcomes.actions_query import action_queries
from lastaisle.feedback.outcomes.reach import Reach
from lastaisle.feedback.outcomes.reconcile import reconcile
from lastaisle.feedback.outcomes.report import AttributionReport
from lastaisle.feedback.outcomes.sessions_query import outcome_queries
from lastaisle.feedback.outcomes.state import MADE, Snapshot
from lastaisle.lake.query import Query, columns_sql
from lastaisle.lake.remade import blocks_of, differing_days
from lastaisle.lake.retries import retry_conflicts
from lastaisle.lake.tables import (
    EVENTS,
    EXPOSURES,
    OUTCOMES,
    OUTCOMES_SCHEMA,
    UNATTRIBUTED,
    UNATTRIBUTED_SCHEMA,
)
from lastaisle.lake.workspace import JOIN_AS_WRITTEN, make_view, open_workspace
from lastaisle.privacy.consents import countable

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from lastaisle.lake.lake import Lake
    from lastaisle.settings import Settings

ATTEMPTS: Final = 5
SCHEMAS: Final = {OUTCOMES: OUTCOMES_SCHEMA, UNATTRIBUTED: UNATTRIBUTED_SCHEMA}
_TEXT, _TIME = pa.string(), pa.timestamp("us", tz="UTC")
#: The columns that attribution reads. A column that a table lacks is NULL.
_READ: Final = {
    EXPOSURES: pa.schema(
        [
            *((name, _TEXT) for name in ("exposure_id", "kind", "recommendation_id", "session_id")),
            *((name, _TEXT) for name in ("user_id", "item_id", "placement", "model_version", "policy")),
            *((name, _TEXT) for name in ("experiment", "arm")),
            *(("occurred_at", _TIME), ("received_at", _TIME), ("position", pa.int32())),
            *(("propensity", pa.float64()), ("event_date", pa.date32())),
        ]
    ),
    EVENTS: pa.schema(
        [
            *((name, _TEXT) for name in ("event_id", "event_type", "session_id", "user_id", "item_id")),
            *((name, _TEXT) for name in ("order_id", "currency", "device_type", "country")),
            *(("occurred_at", _TIME), ("sequence", pa.int64()), ("quantity", pa.int32())),
            *(("price", pa.float64()), ("dwell_ms", pa.int64()), ("event_date", pa.date32())),
        ]
    ),
}


def attribute(
    lake: Lake,
    settings: Settings,
    *,
    days: Collection[date] | None = None,
    every_day: bool = False,
    progress: Callable[[float, str], None] = lambda share, step: None,
) -> AttributionReport:
    """Attribute clicks, views, cart additions and orders to exposures, for all days that may have changed.

    Each table is written in one commit, which also says which versions of `events` and `exposures` were read.
    The next run attributes the days again that later versions affect, and writes the days whose rows differ.
    So late rows correct the outcomes in place, a run without news writes nothing, and a killed run is run
    again.

    Args:
        lake: holds exposures and events; without exposures nothing is written.
        settings: say how far an action may lie behind an exposure.
        days: days that are attributed again too, even if nothing changed.
        every_day: attribute all days again.
        progress: called with the share of the work that is done, and the next step.

    Raises:
        ReconciliationError: items or clicks of exposures are missing in the outcomes; nothing was committed.
        LakeConflictError: other writers won every attempt; run again.
    """
    reach = Reach.of(settings)
    return retry_conflicts(ATTEMPTS)(_attribute, lake, reach, set(days or ()), every_day, progress)


def is_stale(lake: Lake, settings: Settings) -> bool:
    """Tell whether events, exposures or settings changed since the exposures were attributed."""
    if not lake.versions([EXPOSURES, *MADE]):
        return False
    snapshot = Snapshot.take(lake, Reach.of(settings))
    return any(snapshot.stamps_of(lake, name) != snapshot.stamps() for name in MADE)


def _attribute(
    lake: Lake, reach: Reach, asked: set[date], every_day: bool, progress: Callable[[float, str], None]
) -> AttributionReport:
    if not lake.versions([EXPOSURES, *MADE]):
        return AttributionReport()
    for name in MADE:
        if lake.version(name) is None:
            lake.append(name, SCHEMAS[name].empty_table(), key="attribution:made")
    snapshot = Snapshot.take(lake, reach)
    days = _days(lake, snapshot, asked, every_day)
    with open_workspace(writes_to=lake.url) as connection:
        _prepare(connection, lake, snapshot, days)
        blocks = list(blocks_of(days, reach.days + 1))
        for number, (first, last) in enumerate(blocks):
            progress(number / len(blocks), f"{first} to {last}")
            for query in (
                *action_queries(first, last, reach),
                *outcome_queries(first, last, reach, snapshot.data_end),
            ):
                connection.execute(query)
        totals = reconcile(connection)
        changed: set[date] = set()
        for name in MADE:
            changed |= _commit(connection, lake, snapshot, name, days)
        left_out = _sums(connection.execute("SELECT currency, amount FROM other_currencies").fetchall())
    progress(1.0, "done")
    return AttributionReport(
        days, sorted(changed), **asdict(totals), revenue_left_out=left_out, versions=snapshot.versions
    )


def _days(lake: Lake, snapshot: Snapshot, asked: set[date], every_day: bool) -> list[date]:
    """Return the days to attribute, in order: days on which an exposure is, or an outcome of earlier runs."""
    present = set().union(*(snapshot.days_of(lake, name) for name in (EXPOSURES, *MADE)))
    affected = [snapshot.affected_days(lake, name) for name in MADE]
    if every_day or None in affected:
        return sorted(present)
    return sorted(present & asked.union(*(found for found in affected if found is not None)))


def _prepare(connection: DuckDBPyConnection, lake: Lake, snapshot: Snapshot, days: list[date]) -> None:
    """Make the views of the tables at the snapshot's versions, and empty tables for the rows to come."""
    connection.execute(JOIN_AS_WRITTEN)
    for name, schema in _READ.items():
        stored = lake.dataset(name, snapshot.versions[name]) if name in snapshot.versions else None
        make_view(connection, name, countable(stored) if name == EVENTS else stored, columns_sql(schema))
    connection.register("days_made", pa.table({"event_date": pa.array(days, pa.date32())}))
    connection.execute("CREATE TEMP TABLE other_currencies (currency VARCHAR, amount DOUBLE)")
    for name, schema in SCHEMAS.items():
        columns = ", ".join(f'"{column}" {kind}' for column, kind in columns_sql(schema).items())
        connection.execute(f"CREATE TEMP TABLE {name}_made ({columns})")
        connection.register(f"{name}_stored", lake.require(name, snapshot.versions[name]))
        listed = ", ".join(f'"{column}"' for column in schema.names)
        connection.execute(
            f"CREATE TEMP VIEW {name}_now AS SELECT {listed} FROM {name}_made UNION ALL BY NAME "
            f"SELECT {listed} FROM {name}_stored ANTI JOIN days_made USING (event_date)"
        )


def _commit(
    connection: DuckDBPyConnection, lake: Lake, snapshot: Snapshot, name: str, days: list[date]
) -> set[date]:
    """Replace the days whose rows differ from the stored rows, and note what was read; return these days."""
    changed = differing_days(connection, f"{name}_made", f"{name}_stored", SCHEMAS[name], days)
    stamps = snapshot.stamps()
    if changed or stamps != snapshot.stamps_of(lake, name):
        query = Query(connection, f"SELECT * FROM {name}_made", SCHEMAS[name], changed)
        version = snapshot.versions[name]
        lake.replace_days(name, query, if_version=version, exclusive=True, also=stamps)
    return set(changed)


def _sums(amounts: Iterable[tuple[str, float]]) -> Mapping[str, float]:
    by_currency = defaultdict(list)
    for currency, amount in amounts:
        by_currency[currency].append(amount)
    return {currency: math.fsum(by_currency[currency]) for currency in sorted(by_currency)}
