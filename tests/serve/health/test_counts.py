"""Counts of answers, before they reach the lake."""

from __future__ import annotations

import threading
import time

import pytest

from lastaisle.feedback.health import LATENCY_BOUNDS, SERVICE_METRICS_SCHEMA
from lastaisle.serve.health import counts as module
from lastaisle.serve.health.counts import (
    DAY,
    HOUR,
    MINUTE,
    Counts,
    HealthCounts,
    Interval,
    Source,
    add_rows,
    source_of,
    table_of,
)
from lastaisle.serve.parts import Maker

CHAMPION = Source("shop", "7", "champion")
NEW = Source("shop", "8", "arm", "demo", "new")


def totals(rows):
    together = Counts()
    for each in rows.values():
        together.add(each)
    return vars(together)


def test_answers_are_counted_by_minute_and_source(monkeypatch):
    clock = iter([119.9, 120.0, 120.1, 121.0])
    monkeypatch.setattr(module.time, "time", lambda: next(clock))
    counts = HealthCounts()
    counts.answered(CHAMPION, 0.0001, is_empty=False)
    counts.answered(CHAMPION, LATENCY_BOUNDS[3], is_empty=True)
    counts.failed(CHAMPION, 503)
    counts.failed(NEW, 500)
    rows = counts.take()
    found = {
        (interval.start, source): (each.requests, each.errors, each.refused)
        for (interval, source), each in rows.items()
    }
    assert found == {
        (60, CHAMPION): (1, 0, 0),
        (120, CHAMPION): (2, 1, 1),
        (120, NEW): (1, 1, 0),
    }  # fmt: skip
    second = rows[Interval(120, MINUTE), CHAMPION]
    assert (second.empty_lists, second.latency_counts[3], sum(second.latency_counts)) == (1, 1, 1)
    assert counts.take() == {}


def test_every_time_has_a_count():
    counts = HealthCounts()
    for seconds in (0.0, *LATENCY_BOUNDS, 8.5, 3600.0):
        counts.answered(CHAMPION, seconds, is_empty=False)
    assert totals(counts.take())["latency_counts"] == [2, *[1] * (len(LATENCY_BOUNDS) - 1), 2]


@pytest.mark.parametrize(
    ("experiment", "role"), [(None, "champion"), ("demo", "arm"), ("canary-8", "canary"), ("canary", "arm")]
)
def test_the_name_of_the_trial_tells_the_role(experiment, role):
    arm = experiment and "new"
    assert source_of(Maker("shop", "8", experiment, arm)) == Source("shop", "8", role, experiment, arm)


def test_many_rows_are_merged_by_hour_and_then_by_day_and_no_count_is_lost(monkeypatch):
    monkeypatch.setattr(module, "MAX_ROWS", 50)
    rows = {}
    for number in range(40 * 24):
        counts = Counts(requests=2, errors=1, latency_seconds=0.5, overlap_sum=0.25)
        counts.latency_counts[number % 32] += 1
        before = totals(rows)
        rows = add_rows(rows, {(Interval(number * HOUR + MINUTE, MINUTE), CHAMPION): counts})
        after = totals(rows)
        assert after["requests"] == before["requests"] + 2
        assert len(rows) <= 50 + 24
    assert totals(rows)["latency_counts"] == [30] * 32
    assert {interval.seconds for interval, _ in rows} >= {DAY}
    assert all(interval.start % interval.seconds == 0 for interval, _ in rows)


def test_threads_count_at_once_and_nothing_is_lost():
    counts, taken = HealthCounts(), []

    def count() -> None:
        for _ in range(3_000):
            counts.answered(CHAMPION, 0.001, is_empty=False)

    threads = [threading.Thread(target=count) for _ in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        taken.append(counts.take())
        time.sleep(0.001)
    taken.append(counts.take())
    assert sum(each.requests for rows in taken for each in rows.values()) == 9_000


def test_rows_have_the_columns_of_the_table():
    counts = HealthCounts()
    counts.answered(NEW, 0.002, is_empty=False)
    table = table_of(counts.take(), "name", 3)
    assert table.schema == SERVICE_METRICS_SCHEMA
    [row] = table.to_pylist()
    assert (row["service"], row["sequence"], row["experiment"], row["arm"]) == ("name", 3, "demo", "new")
    assert (row["interval_end"] - row["interval_start"]).seconds == 60
    assert row["interval_start"].date() == row["event_date"]
    assert not [name for name, value in row.items() if value is None]
