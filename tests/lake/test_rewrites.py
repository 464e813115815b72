"""Rows that move to other files stay readable by every column, and there once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake.exceptions import CommitFailedError

from lastaisle.lake import Lake, LakeConflictError, Query

DAY, NEXT = date(2025, 1, 1), date(2025, 1, 2)
SCHEMA = pa.schema([("event_id", pa.string()), ("session_id", pa.string()), ("event_date", pa.date32())])


@pytest.fixture
def lake(tmp_path) -> Lake:
    lake = Lake(tmp_path)
    for number, (names, day) in enumerate([("ab", DAY), ("cd", DAY), ("e", NEXT)]):
        table = pa.table([list(names), ["old"] * len(names), [day] * len(names)], schema=SCHEMA)
        lake.append("events", table, key=str(number))
    return lake


def amend(lake: Lake, *names: str) -> int:
    rows = pa.table({"event_id": names, "session_id": ["new"] * len(names)})
    return lake.amend("events", rows, on="event_id", days=[DAY], if_version=lake.version("events"))


def sessions(lake: Lake) -> dict[str, str]:
    rows = lake.scan("events").to_pylist()
    found = {row["event_id"]: row["session_id"] for row in rows}
    assert len(found) == len(rows)
    return found


def keep(lake: Lake, where: str) -> Query:
    connection, dataset = duckdb.connect(), lake.dataset("events")
    connection.register("old", dataset)
    return Query(connection, f"SELECT * FROM old WHERE {where}", dataset.schema, [DAY])


def test_amended_rows_change_and_the_others_stay(lake):
    assert amend(lake, "a", "d") == lake.version("events")
    assert sessions(lake) == {"a": "new", "b": "old", "c": "old", "d": "new", "e": "old"}
    with pytest.raises(LakeConflictError, match="at version 1"):
        lake.amend("events", pa.table({"event_id": ["a"]}), on="event_id", days=[DAY], if_version=1)


def test_a_table_is_read_by_its_text_after_amending_and_deleting(lake):
    amend(lake, "a")
    lake.replace_days("events", keep(lake, "event_id <> 'b'"), if_version=lake.version("events"))
    assert lake.scan("events", where=pc.field("event_id").isin(["a", "b"])).num_rows == 1
    with duckdb.connect() as connection:
        connection.register("events", lake.dataset("events"))
        assert connection.execute("SELECT count(*) FROM events WHERE event_id <> 'a'").fetchall() == [(3,)]


def test_a_day_may_become_empty(lake):
    lake.replace_days("events", keep(lake, "false"), if_version=lake.version("events"))
    assert sessions(lake) == {"e": "old"}


def test_rows_appended_meanwhile_stay_beside_a_rewrite(lake):
    at, query = lake.version("events"), keep(lake, "event_id <> 'a'")
    with during_write(lambda: append_late(lake)):
        lake.replace_days("events", query, if_version=at)
    assert set(sessions(lake)) == set("bcdef")


def test_rows_appended_meanwhile_stop_an_exclusive_rewrite(lake):
    at, query = lake.version("events"), keep(lake, "event_id <> 'a'")
    with (
        during_write(lambda: append_late(lake)),
        pytest.raises(LakeConflictError, match="no longer as it was"),
    ):
        lake.replace_days("events", query, if_version=at, exclusive=True)
    assert set(sessions(lake)) == set("abcdef")


def test_a_rewrite_notices_a_compaction_before_its_commit(lake):
    with during_write(lambda: compact(lake)), pytest.raises(LakeConflictError, match="no longer as it was"):
        amend(lake, "a")
    assert sessions(lake) == dict.fromkeys("abcde", "old")


def test_replacing_all_rows_notices_a_compaction_too(lake):
    query = Query(keep(lake, "true").connection, "SELECT * FROM old", SCHEMA, [DAY, NEXT])
    with during_write(lambda: compact(lake)):
        lake.overwrite("events", query, key="all")
    assert set(sessions(lake)) == set("abcde")


def test_a_compaction_notices_a_rewrite_before_its_commit(lake):
    stale = lake.table("events")
    amend(lake, "a")
    with pytest.raises(CommitFailedError):
        stale.optimize.compact()
    assert set(sessions(lake)) == set("abcde")


def append_late(lake: Lake) -> None:
    lake.append("events", pa.table([["f"], ["old"], [DAY]], schema=SCHEMA), key="late")


def compact(lake: Lake) -> None:
    assert lake.table("events").optimize.compact()["numFilesRemoved"] == 2


@contextmanager
def during_write(act: Callable[[], object]) -> Iterator[None]:
    """Act once while the next query writes its files."""
    write = Query.write

    def written(query: Query, *place: Any) -> Any:
        actions = write(query, *place)
        Query.write = write
        act()
        return actions

    Query.write = written
    try:
        yield
    finally:
        Query.write = write


def test_stamps_travel_with_the_replaced_days(lake):
    at = lake.replace_days(
        "events", keep(lake, "event_id <> 'b'"), if_version=lake.version("events"), also={"read": 7}
    )
    assert (lake.stamp("events", "read"), lake.version("events")) == (7, at)
    nothing = Query(duckdb.connect(), "", SCHEMA, [])
    before = sessions(lake)
    assert lake.replace_days("events", nothing, if_version=at, also={"read": 8}) == at + 1
    assert (lake.stamp("events", "read"), sessions(lake)) == (8, before)
    with pytest.raises(LakeConflictError):
        lake.replace_days("events", nothing, if_version=at, also={"read": 9}, exclusive=True)
    assert lake.stamp("events", "read") == 8


def test_replaced_days_may_bring_a_new_column(lake):
    connection = duckdb.connect()
    connection.register("old", lake.dataset("events"))
    wider = SCHEMA.append(pa.field("visits", pa.int64()))
    query = Query(connection, "SELECT *, 3 AS visits FROM old", wider, [DAY])
    lake.replace_days("events", query, if_version=lake.version("events"), exclusive=True)
    assert sorted((row["event_id"], row["visits"]) for row in lake.scan("events").to_pylist()) == [
        ("a", 3),
        ("b", 3),
        ("c", 3),
        ("d", 3),
        ("e", None),
    ]


def test_the_changed_days_are_those_whose_files_differ(lake):
    start = lake.version("events")
    assert lake.days_changed("events", None) == [DAY, NEXT]
    assert lake.days_changed("events", start) == []
    assert lake.days_changed("events", start + 9) == [DAY, NEXT], "the table was made anew"
    lake.replace_days("events", keep(lake, "false"), if_version=start)
    assert lake.days_changed("events", start) == [DAY], "a day that lost its rows has changed"
    assert lake.days_changed("events", None) == [NEXT]
    assert lake.days_changed("events", start, start) == []
    assert lake.days_changed("no_such_table", None) == []
