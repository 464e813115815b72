"""Who was in which windows: made events, whose answer is counted by hand."""

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from lastaisle.lake import Lake, tables
from lastaisle.privacy.budget.presence import _maximal, presence

from .made import DAY0, spending

DAY = timedelta(days=1)


def visits(lake, *rows):
    """Append events: each row is a shopper or None, a session, and a day."""
    made = [
        {
            "user_id": user,
            "session_id": session,
            "occurred_at": DAY0 + day * DAY,
            "event_date": (DAY0 + day * DAY).date(),
        }
        for user, session, day in rows
    ]
    schema = pa.schema(
        [
            *((name, pa.string()) for name in ("user_id", "session_id")),
            ("occurred_at", pa.timestamp("us", "UTC")),
            ("event_date", pa.date32()),
        ]
    )
    lake.append(tables.EVENTS, pa.Table.from_pylist(made, schema=schema), key=str(rows))


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path / "lake")


def sets(lake, *windows, unit="shopper"):
    """Return the sets of windows as texts, sorted."""
    trainings = [spending(f"r{number}", *window) for number, window in enumerate(windows)]
    found = presence(lake, trainings, unit)
    return sorted("".join("01"[mark] for mark in row) for row in found.astype(int))


def test_a_shopper_spends_where_a_session_of_theirs_was_read(lake):
    visits(lake, ("anna", "s1", 0.0), ("anna", "s2", 2.5), ("ben", "s3", 1.5), (None, "s4", 3.5))
    assert sets(lake, (0, 1), (1, 2), (2, 3), (3, 4)) == ["0001", "0100", "1010"]


def test_overlapping_windows_count_each(lake):
    visits(lake, ("anna", "s1", 0.0), ("anna", "s2", 3.5), ("ben", "s3", 1.5))
    assert sets(lake, (0, 2), (1, 3), (2, 4)) == ["101", "110"]


def test_sets_inside_another_set_are_left_out(lake):
    visits(lake, ("anna", "s1", 0.0), ("anna", "s2", 1.0), ("ben", "s3", 1.5))
    assert sets(lake, (0, 1), (1, 2)) == ["11"]


def test_the_last_moment_of_a_window_is_outside(lake):
    visits(lake, ("anna", "s1", 0.0), ("ben", "s2", 1.0))
    assert sets(lake, (0, 1), (1, 2)) == ["01", "10"]


def test_sessions_are_units_of_their_own(lake):
    visits(lake, ("anna", "s1", 0.0), ("anna", "s2", 1.0))
    assert sets(lake, (0, 1), (1, 2), unit="session") == ["01", "10"]


def test_everybody_counts_as_present_in_a_window_whose_events_are_deleted(lake):
    visits(lake, ("anna", "s1", 1.0), ("ben", "s2", 2.0))
    assert sets(lake, (0, 1), (1, 2), (2, 3)) == ["101", "110"]


def test_without_events_everybody_counts_as_present_everywhere(lake):
    assert sets(lake, (0, 1), (1, 2)) == ["11"]


def test_an_erased_shopper_is_gone(lake):
    visits(lake, ("carl", "s0", 0.0), ("anna", "s1", 0.1), ("anna", "s2", 1.0), ("ben", "s3", 1.5))
    lake.table(tables.EVENTS).delete("user_id = 'anna'")
    assert sets(lake, (0, 1), (1, 2)) == ["01", "10"]


def test_of_very_many_sets_those_inside_a_large_one_go():
    random = np.random.default_rng(4)
    sets = np.unique(random.random((300, 12)) < 0.4, axis=0)
    regular = np.vstack([sets, np.ones((1, 12), dtype=bool)])
    assert _maximal(regular, most=10).all(axis=1).tolist() == [True]
    few = _maximal(sets, most=10)
    kept = {tuple(row) for row in few}
    assert {tuple(row) for row in _maximal(sets)} <= kept <= {tuple(row) for row in sets}


def test_very_many_sets_agree_with_a_count_by_hand(lake):
    random = np.random.default_rng(3)
    rows = [(f"u{user}", f"s{user} {day}", float(day)) for user in range(80) for day in random.choice(30, 5)]
    visits(lake, ("first", "s", 0.0), *rows)
    windows = [(day, day + 3) for day in range(28)]
    days = {}
    for user, _, day in [("first", "s", 0.0), *rows]:
        days.setdefault(user, set()).add(day)
    by_hand = {"".join("01"[any(a <= d < b for d in seen)] for a, b in windows) for seen in days.values()}
    inside = {
        one
        for one in by_hand
        for other in by_hand
        if one != other and all(b == "1" for a, b in zip(one, other, strict=True) if a == "1")
    }
    assert sets(lake, *windows) == sorted(by_hand - inside)
