"""Partitions: their keys, intervals and sources, and the moments when they are complete."""

from datetime import UTC, datetime, timedelta

import pytest

from lastaisle.settings import Settings, SettingsError
from lastaisle_airflow.runtime import partitions
from tests.airflow.runs import DagRun


def test_a_partition_names_its_interval_and_its_source(tmp_path):
    settings = Settings.of(home=tmp_path, source="s3://logs/{day}/hour={hour}/")
    assert partitions.interval("2025-10-09") == (
        datetime(2025, 10, 9, tzinfo=UTC),
        datetime(2025, 10, 10, tzinfo=UTC),
    )
    assert partitions.interval("2025-12-31T23")[1] == datetime(2026, 1, 1, tzinfo=UTC)
    assert partitions.source_of("2025-10-09T05", settings) == "s3://logs/2025-10-09/hour=2025-10-09T05/"


def test_segment_names_a_day_by_its_first_millisecond(tmp_path):
    settings = Settings.of(home=tmp_path, source="s3://shop/segment-logs/a1B2/{day_ms}")
    for key in ("2015-05-27", "2015-05-27T23"):
        assert partitions.source_of(key, settings) == "s3://shop/segment-logs/a1B2/1432684800000"


@pytest.mark.parametrize("key", ["", "yesterday", "2025-13-01", "2025-10-09T25"])
def test_a_wrong_partition_key_is_refused_with_its_value(key):
    with pytest.raises(partitions.PartitionError, match=repr(key)):
        partitions.interval(key)


def test_the_cadence_is_a_setting(tmp_path):
    assert partitions.cadence(Settings.of(home=tmp_path, partition="hour")).cron == "0 * * * *"
    with pytest.raises(SettingsError, match="LASTAISLE_PARTITION should be day or hour, received 'week'"):
        partitions.cadence(Settings.of(home=tmp_path, partition="week"))


def test_the_error_of_a_run_without_a_partition_says_how_to_trigger_one():
    with pytest.raises(partitions.PartitionError, match="trigger it with one"):
        partitions.partition_of(DagRun(partition_key=None))


def test_a_partition_of_a_topic_is_complete_when_the_watermark_passed_its_end(tmp_path):
    settings = Settings.of(home=tmp_path, partition="hour")
    before, after = (datetime(2025, 10, 9, hour, 30, tzinfo=UTC) for hour in (11, 14))
    assert partitions.completed(before, after, "", settings) == [
        f"2025-10-09T{hour}" for hour in (11, 12, 13)
    ]
    assert partitions.completed(before, before, "", settings) == []
    assert partitions.completed(None, before, "2025-10-09T10", settings) == ["2025-10-09T10"]
    assert partitions.keys_of_hours(["2025-10-09T10", "2025-10-08T23"], Settings.of(home=tmp_path)) == [
        "2025-10-08",
        "2025-10-09",
    ]


def test_a_day_of_hourly_partitions_is_over_with_its_last_hour():
    hours, days = Settings.of(partition="hour"), Settings.of()
    newest = datetime(2025, 10, 9, 22, 59, 59, tzinfo=UTC)
    assert "2025-10-09 is not over yet" in partitions.unfinished("2025-10-09", newest, hours)
    assert partitions.unfinished("2025-10-09", newest + timedelta(minutes=1), hours) is None
    assert partitions.unfinished("2025-10-09T14", newest, hours) is None
    assert partitions.unfinished("2025-10-09", newest, days) is None, "a shop may have no events at night"
