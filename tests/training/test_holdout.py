"""The hours that judge grow in a shop with few sessions, and stay as they are in a shop with many."""

from datetime import timedelta

import pyarrow.compute as pc
import pytest

from lastaisle.lake import Lake
from lastaisle.settings import Settings
from lastaisle.training.holdout import holdout_start
from lastaisle.training.planning import plan_window
from tests.shops.made_up_shop import end_of, events

HOUR = timedelta(hours=1)


def shop(folder, *, sessions, days=10, **settings):
    """Return a lake with so many sessions a day, of four targets each, and its settings."""
    lake = Lake(str(folder / "lake"))
    lake.append("events", events(days=days, sessions=sessions), key="made-up")
    return lake, Settings.of(home=folder, **settings)


def hours(lake, settings, day=10):
    return (end_of(day) - holdout_start(lake, settings, end_of(day))) / HOUR


@pytest.mark.parametrize(
    ("sessions", "expected"),
    [
        (400, 8),  # 533 targets in eight hours
        (200, 8),  # 267
        (50, 24),  # 200 a day: the fiftieth session before the end began at midnight
        (20, 60),  # 80 a day
        (10, 120),  # 40 a day
        (2, 120),  # never enough: half of the ten days, the other half trains
    ],
)
def test_the_hold_out_grows_until_there_are_enough_targets(tmp_path, sessions, expected):
    lake, settings = shop(tmp_path, sessions=sessions)
    assert hours(lake, settings) == pytest.approx(expected, abs=1)
    assert hours(lake, settings) == hours(lake, settings)


def test_the_hold_out_has_enough_targets_and_no_hour_too_many(tmp_path):
    from lastaisle.sessions.windows import evaluation_sessions

    lake, settings = shop(tmp_path, sessions=20)
    start = holdout_start(lake, settings, end_of(10))
    counts = [
        int((evaluation_sessions(lake, start + each * HOUR, end_of(10), None).log.lengths - 1).sum())
        for each in (0, 1)
    ]
    assert counts[0] >= 200 > counts[1]


def test_a_limit_and_a_smaller_number_of_targets_keep_the_hold_out_short(tmp_path):
    lake, settings = shop(tmp_path, sessions=20)
    assert hours(lake, settings.replace(max_holdout_hours=24.0)) == 24
    assert hours(lake, settings.replace(max_holdout_hours=1.0)) == 8
    assert hours(lake, settings.replace(min_targets=20)) == 8


def test_a_young_shop_keeps_half_of_its_hours_for_training(tmp_path):
    lake, settings = shop(tmp_path, sessions=10, days=2)
    assert hours(lake, settings, day=2) == pytest.approx(24, abs=1)


def test_the_plan_judges_by_these_hours_and_a_changed_log_makes_another_plan(tmp_path):
    lake, settings = shop(tmp_path, sessions=20)
    plan = plan_window(lake, settings, end_of(10), architecture="cooccurrence")
    assert (plan.holdout_end - plan.window.end) / HOUR == hours(lake, settings)
    assert plan_window(lake, settings, end_of(10), architecture="cooccurrence").run_key == plan.run_key
    more = events(days=10, sessions=40)
    renamed = more.set_column(0, "session_id", pc.binary_join_element_wise("more", more["session_id"], "-"))
    lake.append("events", renamed, key="more")
    later = plan_window(lake, settings, end_of(10), architecture="cooccurrence")
    assert later.window.end > plan.window.end
    assert later.run_key != plan.run_key
