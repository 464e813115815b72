"""Abandoned checkouts without a broker: a partition of files starts a refresh; a late refresh is reported."""

from datetime import datetime, timedelta

import pytest

from lastaisle.sessions.abandonments import REFRESHED, pending_burst
from tests.airflow.scheduler.abandoning import (
    NOW,
    REFRESH,
    first_champion,
    left_session,
    misses,
    over,
    trained,
)

pytestmark = [pytest.mark.service, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def airflow(hourly_airflow):
    """An Airflow over files, without a control topic, whose refreshes have three seconds."""
    with hourly_airflow.fresh("ingest_sessions", "detect_abandonment", REFRESH) as started:
        first_champion(started.settings)
        yield started


def test_a_partition_of_files_starts_the_refresh_once(airflow):
    hour = f"{NOW - timedelta(minutes=10):%Y-%m-%dT%H}"
    folder = airflow.home / "landing" / hour
    folder.mkdir(parents=True)
    lines = [line for number in range(25) for line in left_session(f"left-{number}", number)]
    (folder / "events.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    for times in (1, 2):
        airflow.api.post("/dags/ingest_sessions/dagRuns", {"partition_key": hour, "logical_date": None})
        detections = over(airflow, "detect_abandonment", times)
    assert [airflow.states(run)["start_refresh"] for run in detections] == [["success"], ["skipped"]]
    assert [airflow.states(run)["mark_notified"] for run in detections] == [["success"], ["skipped"]]
    (run,) = over(airflow, REFRESH, 1)
    assert run.run_id.startswith("burst__")
    assert [detection.note for detection in detections] == [
        "25 checkouts abandoned (abandoned 25)",
        "no checkout was abandoned since the last run",
    ]
    assert trained(airflow, [run]) == [run]
    (ended,) = over(airflow, REFRESH, 1)
    outcome, started = ended.note.split("\n\n")
    assert outcome.startswith("v2 ")
    assert started == "25 checkouts were abandoned", "the note of the trigger stays"
    due = datetime.fromisoformat(run.conf["noticed_at"]) + timedelta(seconds=3)
    (missed,) = airflow.wait_for("the call", lambda: misses(airflow))
    assert f"{due:%Y-%m-%d %H:%M:%S}" in missed, "counted from the moment in the run's conf"
    assert pending_burst(airflow.lake, REFRESHED) is None
