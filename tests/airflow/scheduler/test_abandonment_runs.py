"""Abandoned checkouts on the real scheduler: one message, one refresh, and one report of a late refresh."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from lastaisle.kafka.connection import KafkaConnection
from lastaisle.kafka.control import send_control
from lastaisle.registry.registry import Registry
from lastaisle.sessions.abandonments import REFRESHED, pending_burst
from tests.airflow.scheduler.abandoning import REFRESH, first_champion, left_session, misses, over, trained
from tests.airflow.scheduler.topics import CLICKS, CONTROL, make_anew

pytestmark = [pytest.mark.service, pytest.mark.timeout(900)]

SOURCE = CLICKS
GARBAGE = [b"\xff\xfe\x00", b"", b"{", b"[1]", b'{"event": "other"}', b'{"event": "checkouts_abandoned"}']


def send(broker, topic, values):
    """Send messages, and return when the broker has all of them."""
    from confluent_kafka import Producer

    producer = Producer(broker.config | {"acks": "all"})
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(30) == 0


def abandon(broker, name, sessions):
    """Send sessions that left their checkout a few minutes ago."""
    for number in range(sessions):
        send(broker, SOURCE, left_session(f"{name}-{number}", number))


@pytest.fixture(scope="module")
def airflow(broker, kafka_airflow):
    make_anew(broker, SOURCE)
    with kafka_airflow.fresh("ingest_sessions", "detect_abandonment", REFRESH) as started:
        first_champion(started.settings)
        yield started


def ingest(airflow):
    airflow.api.post("/dags/ingest_sessions/dagRuns", {"conf": {}, "logical_date": None})


@pytest.fixture(scope="module")
def refreshed(airflow, broker):
    """The runs after a burst in the source topic, with garbage and repetitions in the control topic."""
    send(broker, CONTROL, GARBAGE)
    abandon(broker, "first", 15)
    ingest(airflow)
    over(airflow, "detect_abandonment", 1)
    abandon(broker, "second", 15)
    ingest(airflow)
    airflow.wait_for("the training", lambda: any(run.start for run in airflow.api.runs(REFRESH)))
    message = {"event": "checkouts_abandoned", "sessions": 1, "noticed_at": datetime.now(UTC).isoformat()}
    for _ in range(5):
        send(broker, CONTROL, [json.dumps(message).encode(), *GARBAGE])
    airflow.wait_for("a training", lambda: trained(airflow, over(airflow, REFRESH, 2)), timeout=300)
    return over(airflow, REFRESH, 2)


def test_a_burst_becomes_one_refresh(airflow, refreshed):
    assert {run.state for run in refreshed} == {"success"}
    (run,) = trained(airflow, refreshed)
    assert airflow.states(run)["finish_refresh"] == ["success"]
    skipped = [airflow.states(later)["plan_refresh"] for later in refreshed if later != run]
    assert skipped == [["skipped"]] * len(skipped)
    assert pending_burst(airflow.lake, REFRESHED) is None, "the refresh took all waiting sessions"
    assert len(airflow.lake.scan("abandonments")) == 30


def test_the_challenger_is_a_refreshed_version(airflow, refreshed):
    registry = Registry(airflow.settings)
    assert registry.aliases()["challenger"] == "2"
    plan = registry.plan_of(registry.run_of("2"))
    assert (plan.kind, plan.warm_start_version) == ("refresh", "1")
    assert len(plan.bursts) == 2


def test_a_refresh_in_time_reports_no_missed_deadline(airflow, refreshed):
    assert misses(airflow) == []


def test_a_missed_deadline_counts_from_the_noticed_abandonment_and_is_reported(airflow, broker, refreshed):
    noticed = datetime.now(UTC) - timedelta(minutes=airflow.settings.refresh.deadline_minutes + 1)
    message = {"event": "checkouts_abandoned", "sessions": 1, "noticed_at": noticed.isoformat()}
    send_control(KafkaConnection(broker.config), CONTROL, message)
    (missed,) = airflow.wait_for("the call", lambda: misses(airflow), timeout=300)
    # Earlier messages may have started another run, before or after this run; that run missed no deadline.
    later = airflow.api.runs(REFRESH)[len(refreshed) :]
    assert sum(run.run_id in missed for run in later) == 1
    due = noticed + timedelta(minutes=airflow.settings.refresh.deadline_minutes)
    assert f"{due:%Y-%m-%d %H:%M:%S}" in missed
