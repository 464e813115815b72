"""Abandoned checkouts on the real scheduler: noticed, told, refreshed once, and a missed deadline told."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from lastaisle.config import Settings
from lastaisle.ingest.kafka.connection import KafkaConnection
from lastaisle.ingest.kafka.control import send_control
from lastaisle.lake import Lake
from lastaisle.release import Registry
from lastaisle.release.evaluate import plan_of
from lastaisle.training.abandonment import waiting
from lastaisle.training.refresh import REFRESHED
from tests.services.airflow import running_airflow
from tests.services.kafka import make_topic

pytestmark = [pytest.mark.scheduler, pytest.mark.slow, pytest.mark.timeout(900)]

SOURCE, CONTROL = "clicks-to-abandon", "control-of-abandoned"  # others use the same broker
ITEMS = 40
NOW = datetime.now(UTC).replace(second=0, microsecond=0)
REFRESH = "refresh_on_abandonment"
GARBAGE = [b"\xff\xfe\x00", b"", b"{", b"[1]", b'{"event": "other"}', b'{"event": "checkouts_abandoned"}']


def session(name, begin, *ending):
    """Return the events of a session in which each item is followed by one that follows from it."""
    item = sum(name.encode()) % ITEMS
    rows = []
    for step, kind in enumerate(["item_viewed"] * 5 + list(ending)):
        rows.append(
            {
                "event_id": f"{name}-{step}",
                "event_type": kind,
                "occurred_at": (begin + timedelta(seconds=20 * step)).isoformat(),
                "user_id": f"user-{name}",
                "session_id": name,
                "consent": {"analytics": True, "personalization": True},
            }
            | ({"item_id": f"item-{item}"} if kind == "item_viewed" else {})
        )
        item = (3 * item + 1) % ITEMS
    return [json.dumps(row).encode() for row in rows]


def send(broker, topic, values):
    """Send messages; returns when the broker has all of them."""
    from confluent_kafka import Producer

    producer = Producer(broker.config | {"acks": "all"})
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(30) == 0


def left_session(name, number):
    """Return the events of a session that left its checkout a few minutes ago."""
    begin = NOW - timedelta(minutes=10) + timedelta(seconds=number)
    return session(name, begin, "checkout_started", "checkout_abandoned")


def abandon(broker, name, sessions):
    """Let some sessions leave their checkout a few minutes ago."""
    for number in range(sessions):
        send(broker, SOURCE, left_session(f"{name}-{number}", number))


def first_champion(home):
    """Take in two days of history, and release what a training learned from them, by the pipeline's steps."""
    from lastaisle.ingest.run import ingest
    from lastaisle.privacy.keys import PseudonymKeys
    from lastaisle.release import evaluate_candidate, release_candidate
    from lastaisle.training import plan_window, train_candidate

    settings = Settings(home=home)
    lake, registry = Lake(settings.lake), Registry(settings)
    begin, end = NOW - timedelta(hours=47), NOW - timedelta(minutes=30)
    times = [begin + (end - begin) * number / 900 for number in range(900)]
    lines = [line for number, at in enumerate(times) for line in session(f"past-{number}", at)]
    history = home / "history.jsonl"
    history.write_bytes(b"\n".join(lines) + b"\n")
    keys = PseudonymKeys.load_or_create(settings.key_file, lake_url=settings.lake)
    ingest(str(history), "canonical", lake, keys, now=NOW)
    run_id = train_candidate(plan_window(lake, settings, end, options={"epochs": 3}), lake, registry)
    evaluate_candidate(run_id, lake, registry)
    assert release_candidate(run_id, lake, registry, actor="test").promote


@pytest.fixture(scope="module")
def airflow(broker, tmp_path_factory):
    home = tmp_path_factory.mktemp("airflow")
    first_champion(home)
    make_topic(broker, name=SOURCE)
    make_topic(broker, name=CONTROL)
    watched = {"group.id": "lastaisle", "enable.auto.commit": False, "auto.offset.reset": "earliest"}
    given = {
        "LASTAISLE_GX_SAMPLE_ROWS": "0",
        "LASTAISLE_SOURCE": f"kafka://shop/{SOURCE}",
        "LASTAISLE_CONTROL_TOPIC": f"kafka://shop/{CONTROL}",
        "LASTAISLE_SHARDS": "2",
        "LASTAISLE_DRAIN_CRON": "0 0 1 1 *",  # each test lets ingestion run when it wants to
        "AIRFLOW_CONN_SHOP": json.dumps({"conn_type": "kafka", "extra": broker.config | watched}),
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "5",  # a watcher comes with the next reading
    }
    dags = ("ingest_sessions", "detect_abandonment", REFRESH)
    with running_airflow(home, dags, **given) as started:
        yield started


def ingest(airflow):
    airflow.api.post("/dags/ingest_sessions/dagRuns", {"conf": {}, "logical_date": None})


def over(airflow, dag_id, count):
    """Wait until at least so many runs of a DAG are there and all are over; return them."""

    def look():
        runs = airflow.api.runs(dag_id)
        return runs if len(runs) >= count and all(run.finished for run in runs) else None

    return airflow.wait_for(f"{count} runs of {dag_id}", look, timeout=300)


def trained(airflow, runs):
    return [run for run in runs if airflow.states(run).get("train_and_evaluate") == ["success"]]


def misses(airflow):
    """Return what was told of missed deadlines."""
    folder = airflow.home / "airflow" / "logs" / "executor_callbacks"
    texts = [log.read_text(errors="replace") for log in folder.rglob("*") if log.is_file()]
    return [line for text in texts for line in text.splitlines() if "missed its deadline" in line]


@pytest.fixture(scope="module")
def refreshed(airflow, broker):
    """The runs of a burst in the source topic, between garbage and repeated messages in the control topic."""
    send(broker, CONTROL, GARBAGE)
    abandon(broker, "first", 15)
    ingest(airflow)
    over(airflow, "detect_abandonment", 1)
    abandon(broker, "second", 15)
    ingest(airflow)
    airflow.wait_for("the training", lambda: any(run.start for run in airflow.api.runs(REFRESH)))
    told = {"event": "checkouts_abandoned", "sessions": 1, "noticed_at": datetime.now(UTC).isoformat()}
    for _ in range(5):
        send(broker, CONTROL, [json.dumps(told).encode(), *GARBAGE])
    airflow.wait_for("a training", lambda: trained(airflow, over(airflow, REFRESH, 2)), timeout=300)
    return over(airflow, REFRESH, 2)


def test_a_burst_becomes_one_refresh(airflow, refreshed):
    assert {run.state for run in refreshed} == {"success"}
    (run,) = trained(airflow, refreshed)
    assert airflow.states(run)["finish_refresh"] == ["success"]
    skipped = [airflow.states(other)["plan_refresh"] for other in refreshed if other != run]
    assert skipped == [["skipped"]] * len(skipped)
    assert waiting(airflow.lake, REFRESHED) is None, "it took all that waited"
    assert len(airflow.lake.scan("abandonments")) == 30


def test_the_challenger_is_a_refreshed_version(airflow, refreshed):
    registry = Registry(airflow.settings)
    assert registry.aliases()["challenger"] == "2"
    plan = plan_of(registry.run_of("2"), registry)
    assert (plan.kind, plan.warm_start_version) == ("refresh", "1")
    assert len(plan.bursts) == 2


def test_a_refresh_in_time_calls_nobody(airflow, refreshed):
    assert misses(airflow) == []


def test_a_missed_deadline_is_told_counted_from_when_the_abandonment_was_noticed(airflow, broker, refreshed):
    noticed = datetime.now(UTC) - timedelta(minutes=airflow.settings.refresh_deadline_minutes + 1)
    message = {"event": "checkouts_abandoned", "sessions": 1, "noticed_at": noticed.isoformat()}
    send_control(KafkaConnection(broker.config), CONTROL, message)
    (told,) = airflow.wait_for("the call", lambda: misses(airflow), timeout=300)
    # Messages that came before may have started a run since, before or after this one's; it had its time.
    later = airflow.api.runs(REFRESH)[len(refreshed) :]
    assert sum(run.run_id in told for run in later) == 1
    due = noticed + timedelta(minutes=airflow.settings.refresh_deadline_minutes)
    assert f"{due:%Y-%m-%d %H:%M:%S}" in told


@pytest.fixture(scope="module")
def without_kafka(tmp_path_factory):
    """An Airflow over files, without a control topic, whose refreshes have three seconds."""
    home = tmp_path_factory.mktemp("files")
    first_champion(home)
    given = {
        "LASTAISLE_GX_SAMPLE_ROWS": "0",
        "LASTAISLE_SETTLE_SECONDS": "0",
        "LASTAISLE_SOURCE": str(home / "landing" / "{day}"),
        "LASTAISLE_REFRESH_DEADLINE_MINUTES": "0.05",
    }
    with running_airflow(home, ("ingest_sessions", "detect_abandonment", REFRESH), **given) as started:
        yield started


def test_without_kafka_a_partition_of_files_starts_the_refresh_once(without_kafka):
    airflow, day = without_kafka, f"{NOW:%Y-%m-%d}"
    folder = airflow.home / "landing" / day
    folder.mkdir(parents=True)
    lines = [line for number in range(25) for line in left_session(f"left-{number}", number)]
    (folder / "events.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    for times in (1, 2):
        airflow.api.post("/dags/ingest_sessions/dagRuns", {"partition_key": day, "logical_date": None})
        looks = over(airflow, "detect_abandonment", times)
    assert [airflow.states(run)["start_refresh"] for run in looks] == [["success"], ["skipped"]]
    (run,) = over(airflow, REFRESH, 1)
    assert run.run_id.startswith("burst__")
    assert trained(airflow, [run]) == [run]
    due = datetime.fromisoformat(run.conf["noticed_at"]) + timedelta(seconds=3)
    (told,) = airflow.wait_for("the call", lambda: misses(airflow))
    assert f"{due:%Y-%m-%d %H:%M:%S}" in told, "counted from what its starter said"
    assert waiting(airflow.lake, REFRESHED) is None
