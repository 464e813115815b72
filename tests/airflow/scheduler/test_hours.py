"""Hours are ingested and days are learned: an hour that comes again repeats the training of its day."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from lastaisle.evaluation.evaluate import plan_of
from lastaisle.registry.registry import Registry

pytestmark = [pytest.mark.service, pytest.mark.timeout(900)]

DAY = "2025-10-01"
ITEMS = 40


def land(folder, hour, sessions, name="first"):
    """Write sessions of an hour, in which each item determines the next item."""
    begin = datetime.fromisoformat(f"{DAY}T{hour}:00:00").replace(tzinfo=UTC)
    lines = []
    for session in range(sessions):
        item = session % ITEMS
        for step in range(5):
            moment = begin + timedelta(seconds=3000 * session / sessions + 20 * step)
            row = {
                "event_id": f"{name}-{hour}-{session}-{step}",
                "event_type": "item_viewed",
                "occurred_at": moment.isoformat(),
                "user_id": f"{name}-{hour}-{session}",
                "session_id": f"{name}-{hour}-{session}",
                "item_id": f"item-{item}",
                "consent": {"analytics": True, "personalization": True},
            }
            lines.append(json.dumps(row))
            item = (3 * item + 1) % ITEMS
    path = folder / "landing" / f"{DAY}T{hour}" / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def airflow(hourly_airflow):
    with hourly_airflow.fresh("ingest_sessions", "retrain_incremental") as started:
        yield started


def ingest(airflow, hour):
    body = {"partition_key": f"{DAY}T{hour}", "logical_date": None}
    run = airflow.api.post("/dags/ingest_sessions/dagRuns", body)

    def finished_run():
        runs = {row.run_id: row for row in airflow.api.runs("ingest_sessions")}
        started = runs.get(run["dag_run_id"])
        return started if started and started.finished else None

    ended = airflow.wait_for(f"the ingestion of {hour}", finished_run)
    assert ended.state == "success"


def trainings(airflow, count):
    """Wait until `count` trainings are over, and return them."""

    def over():
        runs = airflow.api.runs("retrain_incremental")
        return len(runs) >= count and all(run.state in ("success", "failed") for run in runs) and runs

    return airflow.wait_for(f"{count} trainings", over, timeout=300)


def test_a_day_is_learned_with_its_last_hour_and_again_with_an_hour_that_comes_again(airflow):
    folder = airflow.home
    land(folder, "12", 300)
    ingest(airflow, "12")
    (early,) = trainings(airflow, 1)
    assert (early.partition, early.state) == (DAY, "success")
    assert airflow.states(early)["plan_window"] == ["skipped"], "the day was not over"

    land(folder, "23", 300)
    ingest(airflow, "23")
    trainings(airflow, 2)
    registry = Registry(airflow.settings)
    assert registry.aliases() == {"challenger": "1", "champion": "1"}

    land(folder, "12", 40, name="late")
    ingest(airflow, "12")
    runs = trainings(airflow, 3)
    assert {run.partition for run in runs} == {DAY}
    assert len(runs) == 3, "one more run for the day, and no other"
    assert registry.aliases()["challenger"] == "2"
    first, again = (plan_of(registry.run_of(version), registry) for version in "12")
    assert again.window == first.window
    assert (again.holdout_end, again.warm_start_version) == (first.holdout_end, first.warm_start_version)
    rows = {row["run_key"]: row["sessions"] for row in airflow.lake.scan("training_runs").to_pylist()}
    assert (rows[first.run_key], rows[again.run_key]) == (300, 340)
