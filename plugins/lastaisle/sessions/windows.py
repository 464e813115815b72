"""Windows in event time: which sessions of the lake train a model, and which evaluate it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from lastaisle.errors import NotEnoughDataError
from lastaisle.lake.tables import CONSENTS, EVENTS
from lastaisle.lake.workspace import open_tables
from lastaisle.privacy.consents import NO_TABLE, refused
from lastaisle.sessions.session_log import to_log
from lastaisle.sessions.session_query import (
    REFUSING_SHOPPERS,
    SESSION_COLUMNS,
    item_query,
    missing_columns,
    session_query,
)

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.lake.reader import LakeReader
    from models.data.sequences import SessionLog

MAX_SESSION_EVENTS = 200  # longer sessions are bots: the longest real sessions of public logs are shorter
FAST_SECONDS = 3.0  # a session of FAST_VIEWS or more with less time a view, on the mean, is a bot
SESSION_REACH = timedelta(hours=24)  # how far before a window its sessions may have begun
HISTORY = timedelta(days=30)  # how far back a shopper counts as returning
ALL = (1.0, 0)  # share of the sessions that is read, and the seed of the hash of names that chooses them
#: Which versions of the tables are read: those of a plan, in which a table without a version did not exist; a
#: version of `events` with the newest decisions of `consents`; None = the newest of both.
Versions: TypeAlias = Mapping[str, int] | int | None


@dataclass(frozen=True)
class Window:
    """A stretch of event time [start, end) that trains a model.

    Attributes:
        start: the first moment.
        end: the moment after the last.
        half_life_hours: age, counted from the end, at which a session weighs one half.
    """

    start: datetime
    end: datetime
    half_life_hours: float


@dataclass(frozen=True)
class SessionsRead:
    """Sessions of a stretch of time, and how many were left out.

    Attributes:
        log: the sessions, by their end, with the columns of SESSION_COLUMNS, EVENT_COLUMNS and
            ITEM_COLUMNS. The event columns `added` and `purchased` say whether the session adds, or orders,
            the event's item then or later. They weigh targets and are never input of a model.
        left_out: reason (bots, without_consent) to the number of sessions.
    """

    log: SessionLog
    left_out: Mapping[str, int] = field(default_factory=dict)


def training_sessions(
    lake: Lake,
    window: Window,
    seen_until: datetime,
    versions: Versions,
    sample: tuple[float, int] = ALL,
    *,
    with_ids: bool = False,
) -> SessionsRead:
    """Read the sessions that ended inside the window, judged by the events before `seen_until`.

    A session that goes on after the window's end is left to a later run. So no session is cut, and no session
    both trains and evaluates.

    Args:
        lake: where `events` and `consents` are.
        window: the hours.
        seen_until: the moment before which events count.
        versions: the versions of the tables; None = the newest.
        sample: share of the sessions to read, and a seed; the other sessions are never put together.
        with_ids: adds the ids of the sessions, as the column `session`.
    """
    until: dict[str, Any] = {"seen_until": seen_until, "versions": versions, "sample": sample}
    return _read(lake, window.start, window.end, moment="ended_at", with_ids=with_ids, **until)


def evaluation_sessions(
    lake: Lake, start: datetime, end: datetime, versions: Versions, *, with_ids: bool = False
) -> SessionsRead:
    """Read the sessions that started inside [start, end), with their events before `end`.

    `with_ids` adds the ids of the sessions, as the column `session`.
    """
    return _read(lake, start, end, moment="started_at", seen_until=end, versions=versions, with_ids=with_ids)


def sessions_between(
    lake: Lake, start: datetime, end: datetime, *, versions: Mapping[str, int] | None = None
) -> SessionLog:
    """Return the sessions that ended inside [start, end), oldest first, of consenting shoppers only.

    Args:
        lake: where `events` is.
        start: the first moment, UTC.
        end: the moment after the last, UTC.
        versions: versions of `events` and `consents` to read, for a repeatable result; default the newest.
    """
    read = {**lake.versions([CONSENTS]), **(versions or {})}
    return _read(lake, start, end, moment="ended_at", seen_until=end + SESSION_REACH, versions=read).log


def refusing_shoppers(lake: Lake, written_since: datetime | None = None) -> set[str]:
    """Return the shoppers whose most recent event, or newest decision in `consents`, refuses.

    Args:
        lake: where `events` and `consents` are.
        written_since: reads of the events only the days to which rows were written since this moment, and the
            days after them. Each shopper who has refused since then is found. Default: all days.

    Returns:
        pseudonyms of shoppers, and of the sessions of unknown shoppers.
    """
    withdrawn = set(_withdrawn(lake, None)["_shopper"].to_pylist())
    dataset = lake.dataset(EVENTS)
    days = [date.min] if written_since is None else lake.days_written_since(EVENTS, written_since)
    if dataset is None or not days:
        return withdrawn
    with open_tables(events=dataset) as connection:
        rows = connection.execute(REFUSING_SHOPPERS, {"first_day": min(days)}).fetchall()
    return withdrawn | {shopper for (shopper,) in rows}


def newest_data_end(lake: LakeReader, version: int | None = None) -> datetime:
    """Return the moment after the newest event, at which a training ends by default.

    Args:
        lake: where `events` is.
        version: version of `events`; None = the newest.

    Raises:
        NotEnoughDataError: there are no events yet.
    """
    return _moment_of(lake, max, pc.max, version) + timedelta(seconds=1)


def oldest_event(lake: Lake) -> datetime:
    """Return the moment of the oldest event.

    Raises:
        NotEnoughDataError: there are no events yet.
    """
    return _moment_of(lake, min, pc.min)


def _moment_of(
    lake: LakeReader,
    of_days: Callable[[list[Any]], Any],
    of_times: Callable[[Any], Any],
    version: int | None = None,
) -> datetime:
    """Return the first or the last moment of the events; reads one day."""
    table = lake.table(EVENTS, version)
    days = [partition["event_date"] for partition in table.partitions()] if table else []
    if not days:
        raise NotEnoughDataError(f"the table 'events' of {lake.url} is empty: ingest some logs first")
    day = pc.field("event_date") == datetime.fromisoformat(str(of_days(days))).date()
    moment = of_times(lake.scan(EVENTS, ["occurred_at"], day, version)["occurred_at"]).as_py()
    assert isinstance(moment, datetime), "a day in the table has a row"
    return moment.replace(tzinfo=UTC)


def _read(
    lake: Lake,
    start: datetime,
    end: datetime,
    *,
    moment: str,
    seen_until: datetime,
    versions: Versions,
    sample: tuple[float, int] = ALL,
    with_ids: bool = False,
) -> SessionsRead:
    read_from = start - SESSION_REACH
    parameters = {
        "start": start,
        "end": end,
        "read_from": read_from,
        "seen_until": seen_until,
        "first_day": read_from.astimezone(UTC).date(),
        "last_day": seen_until.astimezone(UTC).date(),
        "history_day": (start - HISTORY).astimezone(UTC).date(),
        "share": sample[0],
        "seed": sample[1],
    }
    dataset = lake.require(EVENTS, versions.get(EVENTS) if isinstance(versions, Mapping) else versions)
    withdrawn = _withdrawn(lake, versions)
    with open_tables(stored=dataset, withdrawn=withdrawn) as connection:
        missing = missing_columns(dataset.schema.names)
        connection.execute(f"CREATE TEMP VIEW events AS SELECT *{missing} FROM stored")
        rows = connection.sql(session_query(moment), params=parameters).to_arrow_table()
        kept, left_out = _without_bots_and_refusals(rows)
        connection.register("kept", kept.select(["session_id"]))
        within = ("first_day", "last_day", "read_from", "end")
        item_parameters = {name: parameters[name] for name in within}
        items = connection.sql(item_query(), params=item_parameters).to_arrow_table()
    ids = {"session": "session_id"} if with_ids else {}
    return SessionsRead(to_log(kept, items, SESSION_COLUMNS | ids), left_out)


def _withdrawn(lake: Lake, versions: Versions) -> pa.Table:
    """Return the shoppers and the visits whose newest decision refuses personalization, as `_shopper`."""
    version = versions.get(CONSENTS, NO_TABLE) if isinstance(versions, Mapping) else None
    rows = refused(lake, "personalization", version=version)
    return pa.table({"_shopper": pc.coalesce(rows["user_id"], rows["session_id"])})


def _without_bots_and_refusals(rows: pa.Table) -> tuple[pa.Table, dict[str, int]]:
    """Keep the sessions (one a row) that may be learned from; count the others by reason."""
    too_fast = pc.fill_null(pc.less(rows["seconds_a_view"], FAST_SECONDS), False)
    bots = pc.or_(pc.greater(rows["n_events"], MAX_SESSION_EVENTS), too_fast)
    refused = rows["refused"]
    left_out = {
        "bots": pc.sum(pc.and_not(bots, refused)).as_py() or 0,
        "without_consent": pc.sum(refused).as_py() or 0,
    }
    return rows.filter(pc.invert(pc.or_(bots, refused))).combine_chunks(), left_out
