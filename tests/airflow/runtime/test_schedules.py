"""The schedules of the DAGs, by the settings."""

import pytest
from airflow.sdk import PartitionedAssetTimetable, StartOfDayMapper

from lastaisle.settings import Settings, SettingsError
from lastaisle_airflow.runtime import schedules
from lastaisle_airflow.runtime.assets import ARRIVALS, EVENTS, EXPOSURES
from lastaisle_airflow.runtime.schedules import abandonment_schedule, attribution_schedule


def test_a_training_follows_each_partition_or_its_day():

    def mapper(**settings):
        return schedules.training_schedule(Settings.of(**settings)).default_partition_mapper

    assert "Identity" in type(mapper()).__name__
    assert "Identity" in type(mapper(partition="hour")).__name__
    assert isinstance(mapper(partition="hour", learn_every="day"), StartOfDayMapper)
    with pytest.raises(SettingsError, match="LASTAISLE_LEARN_EVERY"):
        mapper(learn_every="hour")


def test_abandonment_is_detected_after_each_run_from_a_topic_and_each_partition_of_files():
    assert abandonment_schedule(Settings.of(source="kafka://shop/clicks")) == [ARRIVALS]
    timetable = abandonment_schedule(Settings.of())
    assert isinstance(timetable, PartitionedAssetTimetable)
    assert timetable.asset_condition == EVENTS


def test_outcomes_are_attributed_after_events_or_exposures_from_topics_and_from_files():
    from_topic = attribution_schedule(Settings.of(source="kafka://shop/clicks"))
    assert list(from_topic.objects) == [ARRIVALS, EXPOSURES]
    from_files = attribution_schedule(Settings.of())
    assert isinstance(from_files, PartitionedAssetTimetable)
    assert list(from_files.asset_condition.objects) == [EVENTS, EXPOSURES]
    for condition in (from_topic, from_files.asset_condition):
        assert type(condition).__name__ == "AssetAny", "either asset alone starts a run"


def test_the_catalogue_has_a_schedule_only_by_its_setting():
    assert schedules.catalogue_schedule(Settings.of()) is None
    timetable = schedules.catalogue_schedule(Settings.of(catalogue_cron="*/10 * * * *"))
    assert timetable.expression == "*/10 * * * *"
