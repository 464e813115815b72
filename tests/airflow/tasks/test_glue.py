"""The small functions between Airflow and the pipeline."""

import json
import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from lastaisle.errors import SourceError
from lastaisle.settings import Settings, SettingsError
from lastaisle_airflow.local.airflow_api import Run, seconds_of
from lastaisle_airflow.runtime import defaults, links, partitions, schedules
from lastaisle_airflow.tasks import announcements, drift, ingestion, online_updates, training
from models.recommender import ModelError


@dataclass
class DagRun:
    dag_id: str = "ingest_sessions"
    run_id: str = "backfill__2025-10-09__x"
    partition_key: str | None = "2025-10-09"


@dataclass
class TaskInstance:
    dag_id: str = "ingest_sessions"
    run_id: str = "backfill__2025-10-09__x"
    task_id: str = "ingest_batches"
    map_index: int = 3
    try_number: int = 2
    max_tries: int = 2
    log_url: str = "http://airflow/log"


def test_a_partition_names_its_interval_and_its_source(tmp_path):
    settings = Settings.of(home=tmp_path, source="s3://logs/{day}/hour={hour}/")
    assert partitions.interval("2025-10-09") == (
        datetime(2025, 10, 9, tzinfo=UTC),
        datetime(2025, 10, 10, tzinfo=UTC),
    )
    assert partitions.interval("2025-12-31T23")[1] == datetime(2026, 1, 1, tzinfo=UTC)
    assert partitions.source_of("2025-10-09T05", settings) == "s3://logs/2025-10-09/hour=2025-10-09T05/"


def test_a_day_is_named_as_segment_names_it(tmp_path):
    settings = Settings.of(home=tmp_path, source="s3://shop/segment-logs/a1B2/{day_ms}")
    for key in ("2015-05-27", "2015-05-27T23"):
        assert partitions.source_of(key, settings) == "s3://shop/segment-logs/a1B2/1432684800000"


@pytest.mark.parametrize("key", ["", "yesterday", "2025-13-01", "2025-10-09T25"])
def test_a_key_that_names_no_partition_is_refused_with_its_value(key):
    with pytest.raises(partitions.PartitionError, match=repr(key)):
        partitions.interval(key)


def test_the_cadence_is_a_setting(tmp_path):
    assert partitions.cadence(Settings.of(home=tmp_path, partition="hour")).cron == "0 * * * *"
    with pytest.raises(SettingsError, match="LASTAISLE_PARTITION should be day or hour, received 'week'"):
        partitions.cadence(Settings.of(home=tmp_path, partition="week"))


def test_a_run_without_a_partition_says_how_to_trigger_it():
    with pytest.raises(partitions.PartitionError, match="trigger it with one"):
        partitions.partition_of(DagRun(partition_key=None))


@pytest.mark.parametrize("wrap", [lambda one: one, lambda one: [one], lambda one: [None, one]])
def test_one_report_counts_however_airflow_hands_it_over(wrap):
    report = {"batches": ["b"], "rows": 5, "hours": ["2025-10-09T01", "2025-10-08T23"]}
    assert announcements.summarize(wrap(report)) == {
        "chains": 1,
        "batches": ["b"],
        "rows": 5,
        "hours": ["2025-10-08T23", "2025-10-09T01"],
    }


def test_what_was_not_taken_in_or_was_lost_makes_the_run_red():
    ingestion.check_all_taken_in(["a", "b"], {"chains": 2}, [])
    with pytest.raises(SourceError, match="1 of 2 sources were not taken in"):
        ingestion.check_all_taken_in(["a", "b"], [{"chains": 1}], [])
    with pytest.raises(SourceError, match="2 of 2 sources"):
        ingestion.check_all_taken_in(["a", "b"], None, [])
    with pytest.raises(SourceError, match="could be planned"):
        ingestion.check_all_taken_in(None, None, [])
    with pytest.raises(SourceError, match="lost upstream, see the table gaps: clicks/0: offsets 3 to 5"):
        ingestion.check_all_taken_in(["a"], {"chains": 1}, ["clicks/0: offsets 3 to 5"])


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


def test_only_hours_of_earlier_partitions_are_late(monkeypatch):
    monkeypatch.setenv("LASTAISLE_PARTITION", "day")
    run = DagRun()
    summary = {"chains": 1, "batches": ["b"], "rows": 3, "hours": ["2025-10-08T23", "2025-10-09T01"]}
    assert announcements.announcement(summary, run)["partitions"] == ["2025-10-09"]
    assert announcements.late_announcement([summary], run) == {
        "partitions": ["2025-10-08"],
        "hours": ["2025-10-08T23"],
    }
    with pytest.raises(AirflowSkipException):
        announcements.late_announcement(summary | {"hours": ["2025-10-09T01"]}, run)


def test_empty_params_take_the_settings_and_moments_are_utc():
    given = training.given_params({"epochs": 3, "window_hours": None, "data_end": "2025-10-09T12:00:00"})
    assert given == {"epochs": 3, "data_end": datetime(2025, 10, 9, 12, tzinfo=UTC)}


def test_a_model_that_cannot_be_is_refused_at_once(monkeypatch, tmp_path):
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path))
    moment = datetime(2025, 10, 9, tzinfo=UTC)
    for wrong, words in (
        ({"architecture": "oracle"}, "no such model: 'oracle'"),
        ({"hyperparameters": {"heads": 3}}, "no such hyperparameter: heads"),
        ({"hyperparameters": {"loss": "hinge"}}, "loss cannot be 'hinge'"),
    ):
        with pytest.raises(AirflowFailException, match=words):
            training.plan("full", data_end=moment, **wrong)


def test_a_failure_says_which_run_and_where_to_look(monkeypatch, caplog):
    monkeypatch.setattr(defaults, "trained_run", lambda task_instance: "abc123")
    monkeypatch.setenv("LASTAISLE_MLFLOW_UI", "http://mlflow:5000/")
    context = {"ti": TaskInstance(), "dag_run": DagRun(), "exception": ValueError("broken")}
    with caplog.at_level(logging.ERROR, "lastaisle.alerts"):
        defaults.report_failure(context)
    (record,) = caplog.records
    said = json.loads(record.getMessage().split("failed: ", 1)[1])
    assert said == {
        "dag": "ingest_sessions",
        "run": "backfill__2025-10-09__x",
        "partition": "2025-10-09",
        "task": "ingest_batches",
        "map_index": 3,
        "try": 2,
        "tries": 3,
        "error": "ValueError: broken",
        "log": "http://airflow/log",
        "mlflow_run": "http://mlflow:5000/#/runs/abc123",
    }


def test_the_link_leads_to_mlflow_even_before_there_is_a_run(monkeypatch):
    monkeypatch.setenv("LASTAISLE_MLFLOW_PORT", "5055")
    assert links.run_page(None) == "http://127.0.0.1:5055"


def test_airflow_shows_the_link_on_the_tasks_that_have_a_run(dagbag):
    for name in ("retrain_incremental", "retrain_full", "refresh_on_abandonment"):
        linked = {
            task.task_id
            for task in dagbag.dags[name].tasks
            if any(isinstance(link, links.MlflowRunLink) for link in task.operator_extra_links)
        }
        assert linked == {"train_and_evaluate", "release_candidate"}


def test_time_between_tasks_is_airflows_and_parallel_tasks_count_once():
    def at(second):
        return datetime(2025, 10, 9, 0, 0, second, tzinfo=UTC)

    def task(start, end):
        return {"start_date": at(start).isoformat(), "end_date": at(end).isoformat(), "state": "success"}

    run = Run("d", "r", None, "success", at(0), at(30))
    waiting = {"start_date": None, "end_date": None, "state": "skipped"}
    assert seconds_of([task(12, 20), task(2, 10), task(4, 8), task(6, 11), waiting], run) == (17.0, 13.0)


def test_drift_is_announced_and_trained_for_only_where_it_alarms_and_has_rested():
    found = {"day": "2025-10-09", "alarmed": 2, "words": "prices rose", "retrain": True, "reason": "why"}
    assert drift.require_alarm(found)["words"] == "prices rose"
    soon = datetime(2025, 10, 12, 23, tzinfo=UTC)
    assert drift.require_training(found, soon) == "prices rose"
    with pytest.raises(AirflowSkipException, match="why"):
        drift.require_training({**found, "retrain": False}, soon)
    with pytest.raises(AirflowSkipException, match="2025-10-09 is more than 3 days past"):
        drift.require_training(found, soon + timedelta(hours=2))
    with pytest.raises(AirflowSkipException, match="prices rose"):
        drift.require_alarm({**found, "alarmed": 0})


def test_a_day_whose_hours_come_one_by_one_is_over_with_its_last():
    hours, days = Settings.of(partition="hour"), Settings.of()
    newest = datetime(2025, 10, 9, 22, 59, 59, tzinfo=UTC)
    assert "2025-10-09 is not over yet" in partitions.unfinished("2025-10-09", newest, hours)
    assert partitions.unfinished("2025-10-09", newest + timedelta(minutes=1), hours) is None
    assert partitions.unfinished("2025-10-09T14", newest, hours) is None
    assert partitions.unfinished("2025-10-09", newest, days) is None, "a shop may sleep at night"


def test_a_day_without_events_is_neither_measured_nor_learned(tmp_path, monkeypatch):
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path))
    monkeypatch.setenv("LASTAISLE_PARTITION", "hour")
    with pytest.raises(AirflowSkipException, match="'events'"):
        drift.measure_drift.function(dag_run=DagRun(partition_key="2025-10-09"))
    with pytest.raises(AirflowSkipException, match="'events'"):
        training.plan_partition("2025-10-09")


def test_trainings_follow_partitions_or_their_days():
    from airflow.sdk import StartOfDayMapper

    def mapper(**settings):
        return schedules.training_schedule(Settings.of(**settings)).default_partition_mapper

    assert "Identity" in type(mapper()).__name__
    assert "Identity" in type(mapper(partition="hour")).__name__
    assert isinstance(mapper(partition="hour", learn_every="day"), StartOfDayMapper)
    with pytest.raises(SettingsError, match="LASTAISLE_LEARN_EVERY"):
        mapper(learn_every="hour")


def test_an_online_update_is_skipped_without_a_champion_that_can_learn(tmp_path, monkeypatch):
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path))
    champions = [None, "1"]
    monkeypatch.setattr("lastaisle.release.release.current_champion", lambda *_: champions.pop(0))
    monkeypatch.setattr("lastaisle.training.online.finished_until", lambda lake, end: end)

    def refuse(champion, lake, registry, until):
        assert until == datetime(2025, 10, 10, tzinfo=UTC)
        raise ModelError("no table of embeddings")

    monkeypatch.setattr("lastaisle.release.online.update_online", refuse)
    for words in ("no champion", "no table"):
        with pytest.raises(AirflowSkipException, match=words):
            online_updates.learn_sessions.function(dag_run=DagRun())
