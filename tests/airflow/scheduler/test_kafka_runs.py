"""A topic on the real scheduler: runs that follow each other, announced hours, and losses by offset."""

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from lastaisle.kafka.connection import KafkaConnection
from lastaisle_airflow.local.airflow.api import AirflowApiError
from tests.airflow.scheduler.abandoning import over
from tests.airflow.scheduler.feedback import feedback_lines, key_of
from tests.airflow.scheduler.topics import CLICKS, FEEDBACK, make_anew

pytestmark = [pytest.mark.service, pytest.mark.timeout(900)]

START = datetime(2025, 10, 9, 10, tzinfo=UTC)
ROWS, BATCH_ROWS = 960, 100
TOPIC = CLICKS


def event(number, occurred_at):
    return json.dumps(
        {
            "event_id": f"event-{number}",
            "event_type": "item_viewed",
            "occurred_at": occurred_at.isoformat(),
            "user_id": f"user-{number % 37}",
            "item_id": f"item-{number % 11}",
        }
    ).encode()


def send(broker, first, times, partition=None):
    """Send one event for each time, and return when the broker has all events."""
    from confluent_kafka import Producer

    producer = Producer(broker.config | {"acks": "all"})
    for number, moment in enumerate(times, first):
        place = number % 2 if partition is None else partition
        producer.produce(TOPIC, event(number, moment), partition=place)
    assert producer.flush(30) == 0


def delete_before(broker, partition, offset):
    from confluent_kafka import TopicPartition

    place = TopicPartition(TOPIC, partition, offset)
    admin = KafkaConnection(broker.config).admin()
    admin.delete_records([place])[place].result(30)


def idle(airflow, runs_before=0):
    """Wait until more than `runs_before` runs of ingest_sessions are over and none goes on; return them."""

    def finished_runs():
        runs = airflow.api.runs("ingest_sessions")
        over = len(runs) > runs_before and all(run.finished for run in runs)
        return runs if over and "success" not in airflow.states(runs[-1]).get("go_on", []) else None

    return airflow.wait_for("all runs over", finished_runs, timeout=240)


def ingest_again(airflow):
    before = airflow.api.runs("ingest_sessions")
    airflow.api.post("/dags/ingest_sessions/dagRuns", {"conf": {}, "logical_date": None})
    return idle(airflow, len(before))[len(before) :]


def announced(airflow, asset):
    """Return an asset's events, oldest first.

    Airflow 3.3.2 answers with status 500 while a run of an event is queued: the answer needs its start_date.
    """

    def listed():
        with suppress(AirflowApiError):
            return airflow.api.get("/assets/events", limit=200, order_by="timestamp")

    events = airflow.wait_for("the events of all assets", listed)["asset_events"]
    return [event for event in events if event["name"] == asset]


@pytest.fixture(scope="module")
def airflow(broker, kafka_airflow):
    make_anew(broker, TOPIC, partitions=2)
    send(broker, 0, [START + timedelta(seconds=15 * number) for number in range(ROWS)])
    with kafka_airflow.fresh("ingest_sessions", "retrain_incremental") as started:
        yield started


@pytest.fixture(scope="module")
def drained(airflow):
    """The runs that took in all waiting messages; no person triggered them."""
    return idle(airflow)


def test_runs_follow_the_first_run_until_no_message_is_left(airflow, drained):
    kinds = [run.run_id.split("__")[0] for run in drained]
    assert kinds == ["scheduled", *["asset_triggered"] * 3]
    assert {run.state for run in drained} == {"success"}
    mapped_tasks = [len(airflow.states(run)["ingest_batches"]) for run in drained]
    assert mapped_tasks == [2, 2, 2, 2], "one mapped task for each partition of the topic"


def test_every_message_is_ingested_once(airflow, drained):
    batches = airflow.lake.scan("batches").to_pylist()
    assert sum(batch["rows_in"] for batch in batches) == sum(b["rows_clean"] for b in batches) == ROWS
    assert max(batch["rows_in"] for batch in batches) <= BATCH_ROWS
    ids = airflow.lake.scan("raw_events", ["event_id"])["event_id"].to_pylist()
    assert sorted(ids) == sorted(f"event-{number}" for number in range(ROWS))
    assert airflow.lake.scan("events", ["event_id"]).num_rows == ROWS
    assert {batch["shards"] for batch in batches} == {2}


def test_each_hour_is_announced_once_when_the_watermark_has_passed_it(airflow, drained):
    keys = [event["partition_key"] for event in announced(airflow, "events")]
    assert sorted(keys) == ["2025-10-09T10", "2025-10-09T11", "2025-10-09T12"]
    assert announced(airflow, "late_events") == []


def test_each_announced_hour_wakes_the_training_with_its_key(airflow, drained):
    def woken():
        runs = airflow.api.runs("retrain_incremental")
        return runs if len(runs) == 3 and all(run.finished for run in runs) else None

    runs = airflow.wait_for("three trainings", woken, timeout=300)
    assert sorted(run.partition for run in runs) == ["2025-10-09T10", "2025-10-09T11", "2025-10-09T12"]


def test_the_page_names_each_mapped_task_by_its_offsets(airflow, drained):
    tasks = [task for task in airflow.api.tasks(drained[0]) if task["task_id"] == "ingest_batches"]
    assert sorted(task["rendered_map_index"] for task in tasks) == [f"{TOPIC}/0 0-150", f"{TOPIC}/1 0-150"]


def test_late_rows_are_announced_for_their_hour(airflow, broker, drained):
    send(broker, ROWS, [START + timedelta(minutes=90)] * 4)
    (run,) = ingest_again(airflow)
    assert run.state == "success"
    (late,) = announced(airflow, "late_events")
    assert late["partition_key"] == "2025-10-09T11"
    assert len(announced(airflow, "events")) == 3, "no further hour is complete"


def test_deleted_offsets_make_the_run_red_and_the_rest_is_taken_in(airflow, broker, drained):
    rows_before = airflow.lake.scan("raw_events", ["event_id"]).num_rows
    send(broker, 5000, [START + timedelta(hours=4)] * 20, partition=1)
    first = (ROWS + 4) // 2
    delete_before(broker, 1, first + 7)
    (run,) = ingest_again(airflow)
    assert run.state == "failed"
    states = airflow.states(run)
    assert states["check_sources"] == ["failed"]
    assert set(states["ingest_batches"] + states["anonymize_shard"]) == {"success"}
    assert f"offsets {first} to {first + 6} (7) were deleted" in airflow.log_of(run, "check_sources")
    (gap,) = airflow.lake.scan("gaps").to_pylist()
    assert (gap["topic"], gap["partition"], gap["start_offset"], gap["end_offset"]) == (
        TOPIC,
        1,
        first,
        first + 7,
    )
    assert airflow.lake.scan("raw_events", ["event_id"]).num_rows == rows_before + 13
    (after,) = ingest_again(airflow)
    assert after.state == "success", "the loss is reported once"


@pytest.fixture
def attributing(airflow):
    airflow.pause("attribute_outcomes", paused=False)
    yield
    airflow.pause("attribute_outcomes")


def test_feedback_of_a_topic_wakes_the_attribution_without_any_event(airflow, broker, drained, attributing):
    from confluent_kafka import Producer

    producer = Producer(broker.config | {"acks": "all"})
    for line in feedback_lines("visit", START, key_of(airflow), shown=4):
        producer.produce(FEEDBACK, json.dumps(line))
    assert producer.flush(30) == 0
    (run,) = ingest_again(airflow)
    states = airflow.states(run)
    assert (states["plan_batches"], states["ingest_exposures"]) == (["skipped"], ["success"])
    (task,) = (task for task in airflow.api.tasks(run) if task["task_id"] == "ingest_exposures")
    assert task["rendered_map_index"] == f"{FEEDBACK}/0 0-5"
    (woken,) = over(airflow, "attribute_outcomes", 1)
    assert (woken.state, woken.partition) == ("success", None)
    clicks = airflow.lake.scan("outcomes", ["clicks"])["clicks"].to_pylist()
    assert sorted(clicks) == [0, 0, 0, 1]
    (after,) = ingest_again(airflow)
    assert airflow.states(after)["ingest_exposures"] == ["skipped"], "each message is taken in once"
