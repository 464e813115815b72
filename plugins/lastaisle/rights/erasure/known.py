"""The ids and pseudonyms of shoppers, as far as the tables tell: sessions, orders, events, lists."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import pyarrow as pa

from data_contracts.privacy import PSEUDONYM_LENGTH, SURROGATE
from lastaisle.lake.lake import Lake
from lastaisle.lake.tables import CONSENTS, EVENTS, EXPOSURES, OUTCOMES, RAW_EVENTS, UNATTRIBUTED
from lastaisle.lake.workspace import make_view, read_tables
from lastaisle.rights.erasure.model import ORDER, SESSION, USER, Subjects

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_COLUMNS: Final[Mapping[str, str]] = {
    **dict.fromkeys((USER, SESSION, ORDER, "event_id", "recommendation_id", "batch_id"), "VARCHAR"),
    "source_row": "BIGINT",
    "sub_row": "INTEGER",
    "occurred_at": "TIMESTAMPTZ",
}
_NO_IDS: Final[frozenset[str]] = frozenset()
_PSEUDONYM: Final = re.compile(f"[0-9a-f]{{{PSEUDONYM_LENGTH}}}")


@dataclass(frozen=True)
class Known:
    """Everything by which rows of the shoppers are known.

    Attributes:
        users: their ids.
        sessions: sessions that are theirs alone.
        orders: orders that are theirs alone.
        user_names: pseudonyms of the shoppers.
        session_names: pseudonyms of the sessions, those of derived sessions included.
        order_names: pseudonyms of the orders.
        events: the surrogates of their events.
        lists: the recommendation ids of lists that they saw.
        hours: the hours of their events, as texts in ISO 8601.
        shared: sessions and orders that other shoppers have too.
    """

    users: frozenset[str] = field(default=_NO_IDS, repr=False)
    sessions: frozenset[str] = field(default=_NO_IDS, repr=False)
    orders: frozenset[str] = field(default=_NO_IDS, repr=False)
    user_names: frozenset[str] = field(default=_NO_IDS, repr=False)
    session_names: frozenset[str] = field(default=_NO_IDS, repr=False)
    order_names: frozenset[str] = field(default=_NO_IDS, repr=False)
    events: frozenset[str] = field(default=_NO_IDS, repr=False)
    lists: frozenset[str] = field(default=_NO_IDS, repr=False)
    hours: frozenset[str] = field(default=_NO_IDS, repr=False)
    shared: frozenset[str] = field(default=_NO_IDS, repr=False)

    def __or__(self, other: Known) -> Known:
        both = {each.name: getattr(self, each.name) | getattr(other, each.name) for each in fields(self)}
        for name in ("sessions", "orders", "session_names", "order_names"):
            both[name] -= both["shared"]
        return Known(**both)

    @property
    def texts(self) -> frozenset[str]:
        """The ids of the shop."""
        return self.users | self.sessions | self.orders

    @property
    def pseudonyms(self) -> frozenset[str]:
        """The pseudonyms."""
        return self.user_names | self.session_names | self.order_names

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what an erasure that was interrupted had found; nothing if there is no such file."""
        if not path.exists():
            return cls()
        document: dict[str, list[str]] = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{each.name: frozenset(document.get(each.name, ())) for each in fields(cls)})

    def save(self, path: Path) -> None:
        """Write a file that only its owner may read, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = path.with_suffix(".inprogress")
        draft.unlink(missing_ok=True)
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump({each.name: sorted(getattr(self, each.name)) for each in fields(self)}, stream)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)


def find_known(lake: Lake, subjects: Subjects, before: Known) -> Known:
    """Return what the tables tell of the shoppers, together with what was known before."""
    # After a restore, shoppers may be known by their pseudonyms alone (lastaisle.rights.restored).
    names = frozenset(text for text in subjects.user_ids if _PSEUDONYM.fullmatch(text))
    own = subjects.pseudonyms(USER, subjects.user_ids) | names
    known = before | Known(users=subjects.user_ids, user_names=own)
    known = _from_raw(lake, known)
    known |= Known(
        session_names=subjects.pseudonyms(SESSION, known.sessions),
        order_names=subjects.pseudonyms(ORDER, known.orders),
    )
    known = _from_events(lake, known)
    return _from_feedback(lake, known)


def _from_raw(lake: Lake, known: Known) -> Known:
    """Find the sessions, the orders and the surrogates of the shoppers' rows in raw_events."""
    rows = f"SELECT DISTINCT session_id, order_id, {SURROGATE} AS event_id FROM raw"
    with _view(lake, RAW_EVENTS, "raw") as connection:
        own = _given(connection, "own_users", known.users)
        found = connection.sql(f"{rows} SEMI JOIN {own} ON user_id = id").to_arrow_table()
        known |= Known(
            sessions=_set(found, SESSION), orders=_set(found, ORDER), events=_set(found, "event_id")
        )
        known = _without_shared(connection, "raw", known, own, {SESSION: "sessions", ORDER: "orders"})
        sessions = _given(connection, "own_sessions", known.sessions)
        orders = _given(connection, "own_orders", known.orders)
        found = connection.sql(
            f"{rows} WHERE user_id IS NULL AND (session_id IN (FROM {sessions}) "
            f"OR order_id IN (FROM {orders}))"
        ).to_arrow_table()
        known |= Known(
            sessions=_set(found, SESSION), orders=_set(found, ORDER), events=_set(found, "event_id")
        )
        return _without_shared(connection, "raw", known, own, {SESSION: "sessions", ORDER: "orders"})


def _from_events(lake: Lake, known: Known) -> Known:
    """Find the pseudonyms of the shoppers' events: those of derived sessions, and those of lost keys."""
    with _view(lake, EVENTS, "events") as connection:
        own = _given(connection, "own_users", known.user_names)
        surrogates = _given(connection, "own_events", known.events)
        found = connection.sql(
            "SELECT DISTINCT user_id, session_id, order_id, epoch(date_trunc('hour', occurred_at)) AS hour "
            f"FROM events WHERE user_id IN (FROM {own}) OR event_id IN (FROM {surrogates})"
        ).to_arrow_table()
        known |= Known(
            user_names=_set(found, USER),
            session_names=_set(found, SESSION),
            order_names=_set(found, ORDER),
            hours=frozenset(
                datetime.fromtimestamp(seconds, UTC).isoformat()
                for seconds in found["hour"].to_pylist()
                if seconds is not None
            ),
        )
        own = _given(connection, "own_users", known.user_names)
        return _without_shared(
            connection, "events", known, own, {SESSION: "session_names", ORDER: "order_names"}
        )


def _from_feedback(lake: Lake, known: Known) -> Known:
    """Find the sessions and the lists of the shoppers in what was shown to them."""
    for name in (EXPOSURES, OUTCOMES, UNATTRIBUTED, CONSENTS):
        with _view(lake, name, "shown") as connection:
            own = _given(connection, "own_users", known.user_names)
            sessions = _given(connection, "own_sessions", known.session_names)
            found = connection.sql(
                "SELECT DISTINCT session_id, recommendation_id FROM shown "
                f"WHERE user_id IN (FROM {own}) "
                f"OR (user_id IS NULL AND session_id IN (FROM {sessions}))"
            ).to_arrow_table()
            known |= Known(session_names=_set(found, SESSION), lists=_set(found, "recommendation_id"))
            known = _without_shared(connection, "shown", known, own, {SESSION: "session_names"})
    return known


def _without_shared(
    connection: DuckDBPyConnection, table: str, known: Known, own: str, columns: Mapping[str, str]
) -> Known:
    """Take out the ids that rows of other shoppers have, too."""
    for column, attribute in columns.items():
        ids = _given(connection, f"asked_{column}", getattr(known, attribute))
        found = connection.sql(
            f"SELECT DISTINCT {column} FROM {table} SEMI JOIN {ids} ON {column} = id "
            f"WHERE user_id IS NOT NULL AND user_id NOT IN (FROM {own})"
        ).to_arrow_table()
        known |= Known(shared=_set(found, column))
    return known


@contextmanager
def _view(lake: Lake, name: str, alias: str) -> Iterator[DuckDBPyConnection]:
    """Open DuckDB over a table; missing columns are NULL, and a missing table has no rows."""
    with read_tables(lake.url) as connection:
        make_view(connection, alias, lake.dataset(name), _COLUMNS)
        yield connection


def _given(connection: DuckDBPyConnection, name: str, ids: Iterable[str]) -> str:
    """Give DuckDB a table of ids; return its name."""
    connection.register(name, pa.table({"id": pa.array(sorted(ids), pa.string())}))
    return name


def _set(table: pa.Table, column: str) -> frozenset[str]:
    return frozenset(value for value in table[column].to_pylist() if value is not None)
