"""The sums that the pages read: the same figures as those of the table, of days that changed alone."""

import math
from datetime import UTC, datetime, timedelta

import pytest

from lastaisle.dashboard.figures import cube as cubes
from lastaisle.dashboard.figures.cube import read_cube
from lastaisle.feedback.metrics.read import figures_of, read_metrics
from lastaisle.lake.tables import SHOP_METRICS
from tests.dashboard.shop_rows import hour_rows, write_rows

START = datetime(2026, 11, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def some_hours(days, start=START, **values):
    return [
        row
        for number in range(0, 24 * days, 6)
        for row in hour_rows(start + number * HOUR, sessions=100 + number, **values)
    ]


@pytest.fixture
def lake(source):
    rows = some_hours(3) + some_hours(2, version="2", placement="product", segment="new")
    rows += some_hours(1, version="3", experiment="lists", arm="b", orders=9)
    write_rows(source.lake, rows, "first")
    return source.lake


def alike(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-12)
    return one == other


@pytest.mark.parametrize("by", [(), ("version",), ("arm",), ("placement", "segment")])
@pytest.mark.parametrize("every", [None, "day", "week", "hour"])
def test_the_sums_give_the_figures_of_the_table(lake, by, every):
    cube = read_cube(lake)
    rows = cube.hours if every == "hour" else cube.days
    expected = read_metrics(lake, by=by, every=every).to_pylist()
    assert expected
    assert alike(figures_of(rows, by=by, every=every).to_pylist(), expected)


def test_only_days_that_changed_are_read_again(lake, monkeypatch):
    former = read_cube(lake)
    write_rows(lake, some_hours(1, START + timedelta(days=2), version="4"), "second")
    read = []
    read_block = cubes._read_block
    monkeypatch.setattr(cubes, "_read_block", lambda *given: read.append(given[2]) or read_block(*given))
    newest = read_cube(lake, former)
    day = (START + timedelta(days=2)).date()
    assert read == [(day, day)]
    assert alike(
        figures_of(newest.days, by=("version",)).to_pylist(), read_metrics(lake, by=("version",)).to_pylist()
    )
    assert former.version != newest.version
    assert "4" not in former.values("model_version"), "visitors still see the former sums"


def test_a_day_that_lost_its_rows_is_gone(lake):
    former = read_cube(lake)
    lake.table(SHOP_METRICS).delete(f"event_date = '{START.date()}'")
    assert read_cube(lake, former).first == START + timedelta(days=1)


def test_a_table_that_lost_its_newest_day_is_read_anew(lake):
    former = read_cube(lake)
    lake.table(SHOP_METRICS).delete("event_date = '2026-11-03'")
    newest = read_cube(lake, former)
    assert newest.newest_day == datetime(2026, 11, 2).date()
    assert alike(
        figures_of(newest.hours, every="hour").to_pylist(), read_metrics(lake, every="hour").to_pylist()
    )


def test_hours_are_kept_for_some_weeks_only(source):
    first = START - timedelta(days=2 * cubes.HOURS_KEPT)
    write_rows(source.lake, some_hours(1, first) + some_hours(1), "rows")
    cube = read_cube(source.lake)
    assert cube.first == first
    assert min(cube.hours["hour"].to_pylist()) == START


def test_the_version_that_serves_is_that_of_most_lists_outside_of_experiments(source):
    rows = []
    for number, (version, other) in enumerate([("1", "2"), ("1", "2"), ("2", "1"), ("2", "1")]):
        rows += hour_rows(START + number * HOUR, version=version, sessions=90)
        rows += hour_rows(START + number * HOUR, version=other, sessions=80)
        rows += hour_rows(START + number * HOUR, version="9", sessions=500, experiment="lists", arm="b")
    write_rows(source.lake, rows, "rows")
    assert read_cube(source.lake).begins() == [(START, "1"), (START + 2 * HOUR, "2")]


def test_without_a_table_there_are_no_sums(source):
    assert read_cube(source.lake) is None
