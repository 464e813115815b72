"""What the table of the services' counts tells: sums, shares and latency."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lastaisle.feedback.health import (
    COMPARED_ITEMS,
    LATENCY_BOUNDS,
    SERVICE_METRICS_SCHEMA,
    HealthError,
    health_schema,
    latency_quantile,
    read_health,
)
from lastaisle.lake import Lake
from lastaisle.lake.maintenance import MaintenancePolicy, maintain
from lastaisle.lake.tables import SERVICE_METRICS

START = datetime(2026, 3, 1, 23, 58, tzinfo=UTC)
NO_LISTS = [0] * (len(LATENCY_BOUNDS) + 1)


def row(minute: int = 0, **given: Any) -> dict[str, Any]:
    start = START + timedelta(minutes=minute)
    return {
        "interval_start": start,
        "interval_end": start + timedelta(minutes=1),
        "service": "a",
        "sequence": minute,
        "model_name": "shop",
        "model_version": "7",
        "role": "champion",
        "latency_counts": NO_LISTS,
        "latency_seconds": 0.0,
        "compared_items": COMPARED_ITEMS,
        "overlap_sum": 0.0,
        "event_date": start.date(),
        **dict.fromkeys(("requests", "errors", "refused", "empty_lists", "dropped", "compared"), 0),
        **given,
    }


def counts(**places: int) -> list[int]:
    """Counts of latency; p3=2 are two lists in the fourth count."""
    made = list(NO_LISTS)
    for place, count in places.items():
        made[int(place[1:])] = count
    return made


@pytest.fixture
def write(tmp_path):
    lake = Lake(tmp_path / "lake")

    def append(*rows: dict[str, Any]) -> Lake:
        table = pa.Table.from_pylist(list(rows), SERVICE_METRICS_SCHEMA)
        lake.append(SERVICE_METRICS, table, key=str(lake.version(SERVICE_METRICS)))
        return lake

    return append


def test_counts_add_up_over_workers_and_minutes_and_shares_follow(write):
    lake = write(
        row(0, requests=10, errors=2, refused=1, empty_lists=1, latency_counts=counts(p0=4, p3=4)),
        row(1, service="b", requests=10, latency_counts=counts(p3=9, p31=1), latency_seconds=3.6),
        row(0, role="shadow", requests=4, errors=1, compared=3, overlap_sum=2.4, dropped=5),
    )
    champion, shadow = read_health(lake, by=("model_version", "role")).to_pylist()
    assert (champion["model_version"], champion["role"]) == ("7", "champion")
    sums = ("requests", "errors", "refused", "empty_lists", "dropped", "compared")
    assert [champion[name] for name in sums] == [20, 2, 1, 1, 0, 0]
    assert champion["latency_counts"] == counts(p0=4, p3=13, p31=1)
    assert (champion["error_share"], champion["empty_share"]) == (0.1, pytest.approx(1 / 18))
    assert champion["mean_seconds"] == pytest.approx(0.2)
    assert champion["overlap"] is None
    assert (shadow["role"], shadow["overlap"]) == ("shadow", pytest.approx(0.8))
    assert (shadow["error_share"], shadow["dropped"], shadow["p50_seconds"]) == (0.25, 5, None)


def test_shares_without_a_denominator_are_null(write):
    found = read_health(write(row(requests=2, errors=2)), by=()).to_pylist()[0]
    assert (found["error_share"], found["empty_share"], found["mean_seconds"]) == (1.0, None, None)
    found = read_health(write(row(1)), since=START + timedelta(minutes=1), by=()).to_pylist()[0]
    assert found["error_share"] is None


def test_a_quantile_lies_in_the_bounds_of_its_count():
    places = counts(p2=50, p5=49, p31=1)
    half = latency_quantile(places, 0.5)
    assert (half.low, half.high) == (LATENCY_BOUNDS[1], LATENCY_BOUNDS[2])
    assert half.value == pytest.approx(LATENCY_BOUNDS[2])
    most = latency_quantile(places, 0.99)
    assert (most.low, most.high, most.value) == (*LATENCY_BOUNDS[4:6], pytest.approx(LATENCY_BOUNDS[5]))
    longest = latency_quantile(places, 1.0)
    assert (longest.value, longest.low, longest.high) == (LATENCY_BOUNDS[-1], LATENCY_BOUNDS[-1], math.inf)
    assert latency_quantile(places, 0.0).low == LATENCY_BOUNDS[1], "the shortest"
    assert latency_quantile(NO_LISTS, 0.5) is None


def test_quantiles_agree_with_those_of_the_times_themselves():
    times = np.random.default_rng(3).lognormal(-6, 0.8, 5_000)
    places = np.bincount(np.searchsorted(LATENCY_BOUNDS, times), minlength=len(NO_LISTS)).tolist()
    for share in (0.01, 0.5, 0.9, 0.99):
        found = latency_quantile(places, share)
        true = float(np.quantile(times, share, method="inverted_cdf"))
        assert found.low <= true <= found.high
        assert found.value == pytest.approx(true, rel=0.1)


def test_a_time_is_cut_out_and_split_by_minute_hour_and_day(write):
    lake = write(*(row(minute, requests=minute + 1) for minute in range(4)))

    def requests(**asked: Any) -> list[int]:
        return read_health(lake, by=(), **asked)["requests"].to_pylist()

    assert requests(every="minute") == [1, 2, 3, 4]
    assert requests(every="hour") == requests(every="day") == [3, 7]
    first, last = START + timedelta(minutes=1), START + timedelta(minutes=3)
    assert requests(since=first, until=last) == [5]
    assert requests(since=last + timedelta(minutes=1)) == []
    periods = read_health(lake, by=("service",), every="day")["period"].to_pylist()
    assert periods == [datetime(2026, 3, day, tzinfo=UTC) for day in (1, 2)]


def test_without_a_table_there_are_no_rows_and_without_rows_the_same_columns(tmp_path):
    found = read_health(Lake(tmp_path), every="hour")
    assert (found.num_rows, found.schema) == (
        0,
        health_schema(("model_version", "role", "experiment", "arm"), "hour"),
    )


@pytest.mark.parametrize("asked", [{"by": ("hour",)}, {"every": "week"}])
def test_an_unknown_column_is_refused_by_name(tmp_path, asked):
    with pytest.raises(HealthError, match=r"received '(hour|week)'"):
        read_health(Lake(tmp_path), **asked)


def test_maintenance_joins_the_small_files_of_each_day(write):
    for minute in range(8):
        lake = write(row(minute, requests=1))
    before = read_health(lake, every="minute")
    report = maintain(lake, SERVICE_METRICS, MaintenancePolicy())
    assert (report.files_before, report.files_after, report.partitions_compacted) == (8, 3, 1)
    assert read_health(lake, every="minute").equals(before)
