"""Hours are ingested and days are learned: an hour that comes again repeats the training of its day."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from lastaisle.registry.registry import Registry
from tests.airflow.scheduler.lineage import events_of, upstream

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
    assert early.note.startswith(f"{DAY} is not over yet")
    assert (early.partition, early.state) == (DAY, "success")
    assert airflow.states(early)["plan_window"] == ["skipped"], "the day was not over"

    land(folder, "23", 300)
    ingest(airflow, "23")
    trainings(airflow, 2)
    registry = Registry(airflow.settings)
    assert registry.aliases() == {"challenger": "1", "champion": "1", "anchor": "1"}
    newest = trainings(airflow, 2)[-1]
    page = f"/runs/{registry.run_of('1')}?workflowType=machine_learning"
    assert newest.note.startswith("v1 promoted as the first champion, recall@20 ")
    assert newest.note.endswith(f"{page}))")
    (event,) = airflow.events("checkout_recommender")
    assert event["extra"]["version"] == "1"
    assert newest.note.startswith(event["extra"]["words"])

    land(folder, "12", 40, name="late")
    ingest(airflow, "12")
    runs = trainings(airflow, 3)
    assert {run.partition for run in runs} == {DAY}
    assert len(runs) == 3, "one more run for the day, and no other"
    assert registry.aliases()["challenger"] == "2"
    first, again = (registry.plan_of(registry.run_of(version)) for version in "12")
    assert again.window == first.window
    assert (again.holdout_end, again.warm_start_version) == (first.holdout_end, first.warm_start_version)
    rows = {row["run_key"]: row["sessions"] for row in airflow.lake.scan("training_runs").to_pylist()}
    assert (rows[first.run_key], rows[again.run_key]) == (300, 340)
    check_lineage(airflow)


def check_lineage(airflow):
    """The champion comes from the raw files, and nothing of the events names a shopper."""
    events = events_of(airflow.home)
    mlflow = f"mlflow://127.0.0.1:{airflow.settings.services.mlflow_port}"
    model = f"models/{airflow.settings.registry.model_name}"
    came_from = upstream(events, (mlflow, f"{model}/aliases/champion"))
    files = {
        ("file", str(airflow.home / "landing" / f"{DAY}T{hour}" / "first.jsonl")) for hour in ("12", "23")
    }
    tables = {("file", str(airflow.home / "lake" / table)) for table in ("raw_events", "events")}
    run_id = Registry(airflow.settings).run_of("1")
    assert files | tables | {(mlflow, f"runs/{run_id}"), (mlflow, f"{model}/versions/1")} <= came_from
    assert {event["job"]["namespace"] for event in events} == {"lastaisle"}
    # The clock starts runs of its own, which have nothing to ingest.
    ingestion = airflow.api.newest_by_partition("ingest_sessions")[f"{DAY}T23"]
    log = airflow.log_of(ingestion, "ingest_batches")
    assert log
    assert "openlineage" not in log.lower(), "a log tells of the task, and not of its events"
    assert "first-12-0" not in json.dumps(events), "the id of a shopper"


BAD = "2025-11-01"
#: The hours of a bad day, and the state in which the run of each hour should end.
BAD_HOURS = {
    f"{BAD}T00": "success",  # all rows are broken: they are in quarantine, and the pipeline worked
    f"{BAD}T01": "failed",  # no logs
    f"{BAD}T02": "failed",  # a place that cannot be opened: a link that leads to itself
    f"{BAD}T03": "failed",  # one file of two holds no events
    f"{BAD}T04": "success",
}


@pytest.fixture(scope="module")
def bad_hours(airflow):
    """The runs of a backfill over hours of which some cannot be taken in, by their keys."""
    landing = airflow.home / "landing"
    event = {"event_type": "page_viewed", "session_id": "s", "occurred_at": f"{BAD}T00:10:00Z"}
    for hour, price in (("00", -1.0), ("03", 1.0), ("04", 1.0)):
        folder = landing / f"{BAD}T{hour}"
        folder.mkdir(parents=True)
        row = event | {"event_id": f"bad-{hour}", "price": price}
        (folder / "events.jsonl").write_text(json.dumps(row) + "\n")
    (landing / f"{BAD}T03" / "other.jsonl").write_text("{}\n" * 1000)
    (landing / f"{BAD}T02").symlink_to(landing / f"{BAD}T02")
    period = ("--from-date", f"{BAD}T00:00:00", "--to-date", f"{BAD}T04:00:00")
    airflow.complete_backfills()
    airflow.command("backfill", "create", "--dag-id", "ingest_sessions", *period)

    def over():
        runs = airflow.api.newest_by_partition("ingest_sessions")
        ended = {key: runs[key] for key in BAD_HOURS if key in runs and runs[key].finished}
        return ended if len(ended) == len(BAD_HOURS) else None

    return airflow.wait_for("the backfill's end", over, timeout=300)


def test_hours_without_logs_and_places_that_cannot_be_read_are_not_green(airflow, bad_hours):
    assert {key: run.state for key, run in bad_hours.items()} == BAD_HOURS
    nothing, locked = (bad_hours[f"{BAD}T{hour}"] for hour in ("01", "02"))
    for run in (nothing, locked):
        assert airflow.states(run)["plan_batches"] == ["failed"]
        assert airflow.states(run)["check_sources"] == ["failed"]
    assert "LASTAISLE_MISSING_LOGS=skip" in airflow.log_of(nothing, "plan_batches")
    assert "nothing to read" in airflow.log_of(locked, "plan_batches")
    assert "LASTAISLE_MISSING_LOGS=skip" not in airflow.log_of(locked, "plan_batches")


def test_each_run_carries_its_outcome_as_a_note(airflow, bad_hours):
    notes = {key: run.note for key, run in bad_hours.items()}
    assert notes[f"{BAD}T00"] == "0 rows clean, 1 quarantined"
    assert notes[f"{BAD}T01"] == f"no logs for {BAD}T01"
    assert notes[f"{BAD}T02"].startswith("plan_batches failed: nothing to read at ")
    broken = "1 row clean, 0 quarantined; 1 source not taken in; ingest_batches failed: "
    assert notes[f"{BAD}T03"].startswith(broken)
    assert notes[f"{BAD}T04"] == "1 row clean, 0 quarantined"


def test_an_hour_of_broken_rows_is_in_quarantine(airflow, bad_hours):
    rows = airflow.lake.scan("quarantine", ["payload", "rules"]).to_pylist()
    assert [row["rules"] for row in rows if '"bad-00"' in row["payload"]] == [["price_in_range"]]
    assert airflow.states(bad_hours[f"{BAD}T00"])["announce"] == ["success"]


def test_a_broken_file_makes_the_run_red_after_the_other_file_is_taken_in(airflow, bad_hours):
    run = bad_hours[f"{BAD}T03"]
    states = airflow.states(run)
    assert states["ingest_batches"] == ["failed", "success"]
    assert (states["announce"], states["check_sources"]) == (["success"], ["failed"])
    assert "1 of 2 sources were taken in" in airflow.log_of(run, "check_sources")
    ids = airflow.lake.scan("raw_events", ["event_id"])["event_id"].to_pylist()
    assert {"bad-03", "bad-04"} <= set(ids)
    assert "bad-00" not in ids
