"""The glue of abandoned checkouts, with no Airflow running: who is told, what is watched, what is skipped."""

import asyncio
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from airflow.sdk import PartitionedAssetTimetable
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from lastaisle.errors import NotEnoughDataError
from lastaisle.registry.plan import TrainingPlan
from lastaisle.sessions.abandonments import Burst
from lastaisle.sessions.windows import Window
from lastaisle.settings import Settings
from lastaisle.training.refresh import NothingToRefreshError
from lastaisle_airflow.runtime.assets import ARRIVALS, EVENTS, abandoned_checkouts
from lastaisle_airflow.runtime.deadlines import first_noticed, refresh_deadline, report_miss
from lastaisle_airflow.tasks import learning, refreshing

NOON = datetime(2025, 10, 9, 12, tzinfo=UTC)


def burst(end):
    return Burst(("b1",), 30, {"abandoned": 30}, end - timedelta(hours=1), end, end)


@pytest.fixture
def told(monkeypatch, tmp_path):
    """What reached the control topic; set `found` to what is noticed."""
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path))
    monkeypatch.setenv("LASTAISLE_CONTROL_TOPIC", "kafka://shop/control")
    sent = []
    monkeypatch.setattr("lastaisle_airflow.runtime.kafka.kafka_connection", lambda name: f"connection {name}")
    monkeypatch.setattr("lastaisle.kafka.control.send_control", lambda *given: sent.append(given))
    return sent


def notice(monkeypatch, found):
    def look(lake, settings, *, send):
        if found is not None:
            send(found)
        return found

    monkeypatch.setattr("lastaisle.monitor.abandonment.detect", look)


def test_a_burst_is_told_as_it_is(monkeypatch, told):
    found = burst(datetime.now(UTC))
    notice(monkeypatch, found)
    assert refreshing.detect() == found.to_dict()
    assert told == [("connection shop", "control", found.to_dict())]


def test_without_a_topic_the_run_tells(monkeypatch, told):
    monkeypatch.setenv("LASTAISLE_CONTROL_TOPIC", "")
    found = burst(datetime.now(UTC))
    notice(monkeypatch, found)
    assert refreshing.detect()["bursts"] == ["b1"]
    assert told == []


@pytest.mark.parametrize(("found", "words"), [(None, "no checkout"), (burst(NOON), "3 days past")])
def test_nothing_new_and_a_backfill_tell_nobody(monkeypatch, told, found, words):
    notice(monkeypatch, found)
    with pytest.raises(AirflowSkipException, match=words):
        refreshing.detect()
    assert told == []


def test_abandonments_of_which_nothing_can_be_learned_wait_no_longer(monkeypatch, told):
    def refuse(plan, lake, registry):
        raise NotEnoughDataError("all of them refuse")

    monkeypatch.setattr("lastaisle.training.train.train_candidate", refuse)
    monkeypatch.setattr("lastaisle.registry.registry.Registry", lambda settings: None)
    finished = []
    monkeypatch.setattr(
        "lastaisle.training.refresh.finish_refresh", lambda lake, plan: finished.extend(plan.bursts)
    )
    window = Window(NOON - timedelta(days=2), NOON, 24.0)
    plan = TrainingPlan(
        "refresh-v1-b1", "refresh", "shop", "attention", window, NOON, {}, {}, "1", bursts=("b1",)
    )
    with pytest.raises(AirflowFailException, match="all of them refuse"):
        learning.train_and_evaluate.function(json.loads(plan.to_json()))
    assert finished == ["b1"]


def test_a_look_follows_each_run_from_a_topic_and_each_partition_of_files():
    assert refreshing.looking(Settings(source="kafka://shop/clicks")) == [ARRIVALS]
    timetable = refreshing.looking(Settings())
    assert isinstance(timetable, PartitionedAssetTimetable)
    assert timetable.asset_condition == EVENTS


def test_a_refresh_that_must_not_be_skips_with_its_words(monkeypatch, tmp_path):
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path))
    monkeypatch.setattr("lastaisle.release.release.current_champion", lambda *_: None)

    def refuse(lake, settings, champion):
        raise NothingToRefreshError("3 wait, too few")

    monkeypatch.setattr("lastaisle.training.refresh.plan_refresh", refuse)
    with pytest.raises(AirflowSkipException, match="3 wait, too few"):
        refreshing.plan()


def test_a_plan_travels_as_json_to_its_end(monkeypatch, tmp_path):
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path))
    window = Window(NOON - timedelta(hours=48), NOON, 24.0)
    plan = TrainingPlan("k", "refresh", "m", "attention", window, NOON, {"events": 3}, {}, "1", ("b1", "b2"))
    monkeypatch.setattr("lastaisle.release.release.current_champion", lambda *_: None)
    monkeypatch.setattr("lastaisle.training.refresh.plan_refresh", lambda *_: plan)
    done = []
    monkeypatch.setattr("lastaisle.training.refresh.finish_refresh", lambda lake, plan: done.append(plan))
    refreshing.finish(json.loads(json.dumps(refreshing.plan())))
    assert [(each.run_key, tuple(each.bursts), each.window) for each in done] == [("k", ("b1", "b2"), window)]


def test_only_a_control_topic_is_watched():
    assert abandoned_checkouts(Settings()).watchers == []
    (watcher,) = abandoned_checkouts(Settings(control_topic="kafka://shop/control")).watchers
    path, given = watcher.trigger.serialize()
    assert path == "lastaisle_airflow.runtime.watching.ControlTrigger"
    assert (given["topics"], given["kafka_config_id"]) == (["control"], "shop")


def test_the_watcher_passes_over_what_is_not_for_it():
    (watcher,) = abandoned_checkouts(Settings(control_topic="kafka://shop/control")).watchers
    sent = [b"\xff", None, json.dumps(burst(NOON).to_dict()).encode(), b"{", b'{"event": "other"}']

    async def stream():
        for value in sent:
            yield value

    async def events():
        return [event.payload async for event in watcher.trigger.filter_shared_stream(stream())]

    assert asyncio.run(events()) == [{"sessions": 30, "noticed_at": NOON.isoformat()}]


def test_the_triggerer_loads_nothing_heavy():
    heavy = ("tensorflow", "mlflow", "pandas", "duckdb", "deltalake", "pyarrow")
    program = (
        f"import sys, lastaisle_airflow.runtime.watching; print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_deadline_counts_from_the_first_that_was_noticed():
    early, late = (NOON - timedelta(minutes=minutes) for minutes in (9, 4))
    said = [{"noticed_at": late.isoformat()}, {"noticed_at": early.isoformat()}, None, "x", {}]
    assert first_noticed(said, NOON) == early


@pytest.mark.parametrize("wrong", ["soon", 5, None, "9999-12-31T23:59:59", "0001-01-01T00:00:00+14:00"])
def test_what_cannot_have_been_counts_from_the_run(wrong):
    assert first_noticed([{"noticed_at": wrong}], NOON) == NOON


@pytest.mark.parametrize(
    ("executor", "kind"),
    [
        ("LocalExecutor", "SyncCallback"),
        ("CeleryExecutor", "SyncCallback"),
        ("KubernetesExecutor", "AsyncCallback"),
    ],
)
def test_the_callback_runs_where_the_executor_can_run_it(monkeypatch, executor, kind):
    monkeypatch.setattr("lastaisle_airflow.runtime.deadlines.conf.get", lambda *_: executor)
    alert = refresh_deadline(Settings(refresh_deadline_minutes=7))
    assert type(alert.callback).__name__ == kind
    assert alert.interval == timedelta(minutes=7)


def test_a_miss_is_one_line_of_json(caplog):
    run = {"dag_id": "refresh_on_abandonment", "dag_run_id": "r", "state": "running"}
    report_miss({"dag_run": run, "deadline": {"id": "x", "deadline_time": NOON}})
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("lastaisle.alerts", "ERROR")
    assert json.loads(record.getMessage().split("deadline: ", 1)[1]) == {
        "dag": "refresh_on_abandonment",
        "run": "r",
        "state": "running",
        "due": "2025-10-09 12:00:00+00:00",
    }
