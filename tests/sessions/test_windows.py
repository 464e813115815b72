"""Which sessions of a hand-made events table train, and which evaluate."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from lastaisle.errors import NotEnoughDataError
from lastaisle.lake import Lake
from lastaisle.lake.query import Query
from lastaisle.lake.tables import CONSENTS, EVENTS
from lastaisle.lake.workspace import open_workspace
from lastaisle.privacy.consents import Decision, record
from lastaisle.sessions.session_query import FAST_VIEWS
from lastaisle.sessions.windows import (
    FAST_SECONDS,
    MAX_SESSION_EVENTS,
    Window,
    evaluation_sessions,
    refusing_shoppers,
    sessions_between,
    training_sessions,
)

NOON = datetime(2025, 10, 9, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def event(
    session,
    item,
    minutes,
    *,
    kind="item_viewed",
    user=None,
    consent=True,
    sequence=0,
    device="mobile",
    **more,
):
    at = NOON + timedelta(minutes=minutes)
    return {
        "session_id": session,
        "user_id": user,
        "item_id": item,
        "event_type": kind,
        "occurred_at": at,
        "sequence": sequence,
        "device_type": device,
        "consent_personalization": consent,
        "event_date": at.date(),
        **more,
    }


SCHEMA = pa.schema(
    [
        ("session_id", pa.string()),
        ("user_id", pa.string()),
        ("item_id", pa.string()),
        ("event_type", pa.string()),
        ("occurred_at", pa.timestamp("us", "UTC")),
        ("sequence", pa.int64()),
        ("device_type", pa.string()),
        ("consent_personalization", pa.bool_()),
        ("event_date", pa.date32()),
    ]
)
FULL_SCHEMA = pa.schema(
    [
        *SCHEMA,
        *((name, pa.string()) for name in ("country", "region", "category", "brand")),
        ("dwell_ms", pa.int64()),
        ("price", pa.float64()),
    ]
)


@pytest.fixture
def lake(tmp_path):
    return Lake(str(tmp_path / "lake"))


def write(lake, *events, key="batch", schema=SCHEMA):
    lake.append("events", pa.Table.from_pylist(list(events), schema=schema), key=key)


def train(lake, start=-60, end=60, seen_until=120):
    window = Window(NOON + timedelta(minutes=start), NOON + timedelta(minutes=end), half_life_hours=24)
    return training_sessions(lake, window, NOON + timedelta(minutes=seen_until), None)


def test_a_session_trains_where_it_ended_and_evaluates_where_it_started(lake):
    write(
        lake,
        event("before", "a", -90),
        event("into", "b", -70),
        event("into", "c", -59),
        event("inside", "d", 0),
        event("inside", "e", 1),
        event("crossing", "f", 50),
        event("crossing", "g", 61),
        event("after", "h", 60),
        event("after", "i", 70),
        event("later", "j", 120),
    )
    assert list(train(lake).log) == [["b", "c"], ["d", "e"]]
    evaluated = evaluation_sessions(lake, NOON + timedelta(minutes=60), NOON + timedelta(minutes=120), None)
    assert list(evaluated.log) == [["h", "i"]]
    assert evaluated.log.ended_at.tolist() == [(NOON + timedelta(minutes=70)).timestamp()]


def test_an_evaluation_session_is_read_only_up_to_the_holdouts_end(lake):
    write(lake, event("s", "a", 10), event("s", "b", 20), event("s", "future", 40))
    evaluated = evaluation_sessions(lake, NOON, NOON + timedelta(minutes=30), None)
    assert list(evaluated.log) == [["a", "b"]]


def test_events_of_one_second_keep_the_order_of_their_source(lake):
    write(
        lake,
        event("s", "third", 0, sequence=3),
        event("s", "first", 0, sequence=1),
        event("s", "second", 0, sequence=2),
    )
    assert list(train(lake).log) == [["first", "second", "third"]]


def test_adding_or_ordering_an_item_already_seen_is_no_new_choice(lake):
    write(
        lake,
        event("s", "a", 0),
        event("s", "a", 1),
        event("s", "a", 2, kind="item_added"),
        event("s", "b", 3, kind="item_added"),
        event("s", "c", 4, kind="item_removed"),
        event("s", "a", 5, kind="order_completed"),
        event("s", None, 6, kind="page_viewed"),
    )
    assert list(train(lake).log) == [["a", "a", "b"]]


def test_shoppers_whose_most_recent_event_refuses_never_train(lake):
    write(
        lake,
        event("kept", "a", 0, user="u1", consent=False),
        event("kept", "b", 1, user="u1", consent=True),
        event("gone", "c", 0, user="u2", consent=True),
        event("gone", "d", 1, user="u2", consent=True),
        event("anonymous", "e", 2, consent=False),
        event("half", "f", 3),
        event("half", "g", 4, user="u2"),
    )
    assert list(train(lake).log) == [["c", "d"], ["a", "b"], ["f", "g"]]
    write(lake, event("next", "z", 5000, user="u2", consent=False), key="withdrawal")
    read = train(lake)
    assert list(read.log) == [["a", "b"]]
    assert read.left_out == {"bots": 0, "without_consent": 3}
    assert refusing_shoppers(lake) == {"u2", "anonymous"}


def test_a_later_or_an_earlier_refusal_of_a_shopper_decides_by_the_most_recent_event(lake):
    day = 24 * 60
    write(
        lake,
        event("long ago", "x", -90 * day, user="back", consent=False),
        event("now", "a", 0, user="back"),
        event("now", "b", 1, user="back"),
        event("seen", "c", 0, user="leaves"),
        event("seen", "d", 1, user="leaves"),
        event("next year", "y", 400 * day, user="leaves", consent=False),
    )
    assert list(train(lake).log) == [["a", "b"]]
    assert refusing_shoppers(lake) == {"leaves"}


def delete_days(lake, days):
    """Delete the files of some days behind the table's back, so that reading them fails."""
    for at in days:
        for file in Path(lake.url).glob(f"events/event_date={at}/*.parquet"):
            file.unlink()


def test_the_days_before_a_window_and_its_history_are_not_read(lake):
    """The cost of a training does not grow with the age of a shop."""
    for back in (200, 60, 32):
        write(lake, event(f"old {back}", "x", -back * 24 * 60, user="u", consent=False), key=str(back))
    write(lake, event("s", "a", 0, user="u"), event("s", "b", 1, user="u"))
    expected = list(train(lake).log)
    delete_days(lake, [(NOON - timedelta(days=back)).date() for back in (200, 60, 32)])
    assert list(train(lake).log) == expected == [["a", "b"]]
    evaluated = evaluation_sessions(lake, NOON, NOON + timedelta(minutes=30), None)
    assert list(evaluated.log) == [["a", "b"]]
    with pytest.raises(duckdb.Error, match="No such file"):
        refusing_shoppers(lake)


def test_an_update_reads_only_the_days_that_were_written_since_the_last(lake):
    write(lake, event("s", "a", -90 * 24 * 60, user="old", consent=False), event("t", "b", 0, user="new"))
    recently, later = datetime.now(UTC) - timedelta(minutes=1), datetime.now(UTC) + timedelta(days=2)
    assert lake.days_written_since("none", recently) == []
    assert lake.days_written_since("events", later) == []
    assert len(lake.days_written_since("events", recently)) == 2
    assert refusing_shoppers(lake, written_since=later) == set()
    assert refusing_shoppers(lake, written_since=recently) == {"old"}


def test_files_count_from_the_moment_of_their_commit_and_files_without_a_time_always(lake, monkeypatch):
    """Each kind of write has a time; older versions wrote 0, and their files are read each time."""
    now = datetime.now(UTC)
    days = [(NOON + timedelta(days=number)).date() for number in (0, 1)]
    clocks = {0: 0, 1: (now - timedelta(days=3)).timestamp()}
    for number, at in clocks.items():
        with open_workspace(writes_to=lake.url) as connection, monkeypatch.context() as patch:
            patch.setattr(time, "time_ns", lambda at=at: int(at * 1e9))
            sql = f"SELECT 's{number}' AS session_id, DATE '{days[number]}' AS event_date"
            schema = pa.schema([("session_id", pa.string()), ("event_date", pa.date32())])
            lake.append("events", Query(connection, sql, schema, [days[number]]), key=str(number))
    assert lake.days_written_since("events", now) == days[:1]
    assert lake.days_written_since("events", now - timedelta(days=2.5)) == days


def test_bots_are_left_out_and_counted(lake):
    write(
        lake,
        *[event("bot", f"i{n}", 0, sequence=n) for n in range(MAX_SESSION_EVENTS + 1)],
        event("s", "a", 0),
    )
    read = train(lake)
    assert list(read.log) == [["a"]]
    assert read.left_out["bots"] == 1


def test_a_session_that_views_faster_than_a_shopper_can_is_a_bot(lake):
    def views(session, count, seconds):
        return [event(session, f"i{n}", n * seconds / 60, sequence=n) for n in range(count)]

    write(
        lake,
        *views("crawler", FAST_VIEWS, FAST_SECONDS - 0.1),
        *views("shopper", FAST_VIEWS, FAST_SECONDS),
        *views("short", FAST_VIEWS - 1, 0.1),
        *views("no finer time than a day", FAST_VIEWS, 0),
        *[event("order", f"i{n}", 30, kind="order_completed", sequence=n) for n in range(FAST_VIEWS + 1)],
    )
    read = train(lake)
    assert read.left_out == {"bots": 1, "without_consent": 0}
    assert sorted(map(len, read.log)) == [FAST_VIEWS - 1, FAST_VIEWS, FAST_VIEWS, FAST_VIEWS + 1]


def test_an_hour_that_came_twice_counts_once(lake):
    hour = [event("s", "a", 0), event("s", "a", 1, sequence=1), event("s", "b", 2, sequence=2)]
    write(lake, *hour)
    write(lake, *hour, key="again")
    assert list(train(lake).log) == [["a", "a", "b"]]


def test_returning_shoppers_were_seen_before_their_session(lake):
    write(
        lake,
        event("old", "a", -2000, user="u1"),
        event("s1", "b", 0, user="u1", device="desktop"),
        event("s2", "c", 1, user="u2"),
        event("s3", "d", 2),
        event("s4", "e", 3, user="u2", device=None),
    )
    log = train(lake).log
    assert log.context["returning"].tolist() == [True, False, False, True]
    assert log.context["device_type"].tolist() == ["desktop", "mobile", "mobile", None]
    assert log.context["user"].tolist() == ["u1", "u2", None, "u2"]


def test_context_and_features_stand_beside_their_sessions_events_and_items(lake):
    write(
        lake,
        event("s1", "b", 0, country=None, region=None, dwell_ms=900, price=2.5, category="shoes"),
        event("s1", "a", 1, country="DE", region="DE-BE", price=4.0, brand="acme"),
        event("s2", "b", 2, country="FR", dwell_ms=100, category=None, price=3.0),
        event("bot", "b", 3, country="FR", category="lies", price=9.0, consent=False),
        schema=FULL_SCHEMA,
    )
    log = train(lake).log
    assert list(log) == [["b", "a"], ["b"]]
    assert log.context["country"].tolist() == ["DE", "FR"]
    assert log.context["region"].tolist() == ["DE-BE", None]
    assert log.context["started_at"].tolist() == [NOON.timestamp(), NOON.timestamp() + 120]
    np.testing.assert_array_equal(log.event_context["dwell_ms"], [900.0, np.nan, 100.0])
    assert log.event_context["price"].tolist() == [2.5, 4.0, 3.0]
    assert (log.event_context["occurred_at"] - NOON.timestamp()).tolist() == [0.0, 60.0, 120.0]
    features = {item: place for place, item in enumerate(log.catalogue)}
    latest = {name: column[[features["a"], features["b"]]] for name, column in log.item_features.items()}
    assert {name: column.tolist() for name, column in latest.items()} == {
        "category": [None, "shoes"],
        "brand": ["acme", None],
        "price": [4.0, 3.0],
    }


def test_columns_that_the_table_lacks_read_as_unknown(lake):
    write(lake, event("s", "a", 0), event("s", "b", 1))
    log = train(lake).log
    assert log.context["country"].tolist() == [None]
    assert np.isnan(log.event_context["dwell_ms"]).all()
    assert log.item_features["brand"].tolist() == [None, None]


def test_a_view_says_whether_its_session_adds_or_orders_the_item_later(lake):
    write(
        lake,
        event("s", "a", 0),
        event("s", "b", 1),
        event("s", "a", 2, kind="item_added"),
        event("s", "a", 3),
        event("s", "c", 4, kind="item_added"),
        event("s", "c", 5, kind="order_completed"),
        event("s", "b", 5, kind="order_completed", sequence=1),
        event("t", "a", 6),
        event("t", "b", 7, kind="order_completed"),
    )
    log = train(lake).log
    assert list(log) == [["a", "b", "a", "c"], ["a", "b"]]
    views, added, ordered = "item_viewed", "item_added", "order_completed"
    assert log.event_context["event_type"].tolist() == [views, views, views, added, views, ordered]
    assert log.event_context["added"].tolist() == [True, False, False, True, False, False]
    assert log.event_context["purchased"].tolist() == [False, True, False, True, False, True]


def test_a_version_of_the_table_reads_the_same_sessions_again(lake):
    write(lake, event("s1", "a", 0))
    versions = lake.versions(["events"])
    write(lake, event("s2", "b", 0), key="more")
    start, end = NOON, NOON + timedelta(hours=1)
    assert list(sessions_between(lake, start, end, versions=versions)) == [["a"]]
    assert list(sessions_between(lake, start, end)) == [["a"], ["b"]]


def test_a_lake_without_events_is_refused_and_a_window_without_sessions_is_empty(lake):
    with pytest.raises(NotEnoughDataError, match="no table 'events'"):
        train(lake)
    write(lake, event("s", "a", 10_000))
    assert len(train(lake).log) == 0


def test_further_columns_of_a_shop_change_no_session(lake, tmp_path):
    names = ("shopper", "counts", "added", "purchased", "refused", "seen_at", "started_at", "ended_at", "now")
    names += (
        "n_events",
        "returning",
        "events",
        "once",
        "chosen",
        "sessions",
        "asked",
        "kept",
        "stored",
        "withdrawn",
        "select",
    )
    rows = [
        event("s1", "a", 0, user="u1"),
        event("s1", "b", 1, user="u1", kind="item_added"),
        event("s2", "a", 2, user="u2"),
        event("s2", "b", 3, user="u2", consent=False),
    ]
    more = dict.fromkeys(names, "x")
    other = Lake(str(tmp_path / "other"))
    write(lake, *rows)
    write(
        other,
        *(row | more for row in rows),
        schema=pa.schema([*SCHEMA, *((name, pa.string()) for name in names)]),
    )

    plain, named = train(lake), train(other)

    assert list(named.log) == list(plain.log) == [["a", "b"]]
    assert named.left_out == plain.left_out == {"bots": 0, "without_consent": 1}
    assert refusing_shoppers(other) == refusing_shoppers(lake) == {"u2"}


ANNA, BEN, VISIT = "a" * 32, "b" * 32, "c" * 32


def decide(lake, who, minutes, *, granted=False, purpose="personalization"):
    user, visit = (None, who) if who == VISIT else (who, None)
    record(lake, [Decision(user, visit, purpose, granted, NOON + timedelta(minutes=minutes), "request")], 1)


def write_visits(lake):
    for number, who in enumerate((ANNA, BEN, None)):
        session = VISIT if who is None else f"of {number}"
        events = [event(session, f"{number}{item}", at, user=who) for at, item in enumerate("ab")]
        write(lake, *events, key=session)


def test_a_shopper_or_a_visit_that_withdrew_elsewhere_never_trains_whatever_the_flags_of_events_say(lake):
    write_visits(lake)
    assert len(train(lake).log) == 3
    decide(lake, ANNA, -5)
    decide(lake, VISIT, -5)
    decide(lake, BEN, -5, purpose="sale")
    read = train(lake)
    assert list(read.log) == [["1a", "1b"]]
    assert read.left_out == {"bots": 0, "without_consent": 2}
    assert refusing_shoppers(lake) == {ANNA, VISIT}
    assert refusing_shoppers(lake, written_since=datetime.now(UTC) + timedelta(days=2)) == {ANNA, VISIT}
    assert list(sessions_between(lake, NOON - HOUR, NOON + HOUR)) == [["1a", "1b"]]
    assert list(evaluation_sessions(lake, NOON - HOUR, NOON + HOUR, None).log) == [["1a", "1b"]]


def test_who_agrees_again_trains_again_unless_the_newest_event_refuses(lake):
    write_visits(lake)
    decide(lake, ANNA, -5)
    decide(lake, ANNA, 5, granted=True)
    assert len(train(lake).log) == 3
    write(lake, event("later", "z", 30, user=ANNA, consent=False), key="flag")
    assert sorted(train(lake).log) == [["1a", "1b"], ["2a", "2b"]]


def test_the_versions_of_a_plan_read_the_decisions_of_their_time(lake):
    write_visits(lake)
    before = lake.versions([EVENTS, CONSENTS])
    decide(lake, ANNA, -5)
    after = lake.versions([EVENTS, CONSENTS])
    decide(lake, BEN, -5)
    window = Window(NOON - HOUR, NOON + HOUR, half_life_hours=24)

    def read(versions):
        return len(training_sessions(lake, window, NOON + HOUR, versions).log)

    assert set(before) == {EVENTS}
    assert (read(before), read(after), read(None)) == (3, 2, 1)
    assert read(lake.version(EVENTS)) == 1, "a version of events alone reads the newest decisions"
