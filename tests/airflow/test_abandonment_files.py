"""Abandoned checkouts without a broker: a partition of files starts the refresh, and a missed one is told."""

from datetime import datetime, timedelta

import pytest

from lastaisle.sessions.abandonments import REFRESHED, pending_burst
from tests.airflow.abandoning import NOW, REFRESH, first_champion, left_session, misses, over, trained
from tests.services.airflow import running_airflow

pytestmark = [pytest.mark.scheduler, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def airflow(tmp_path_factory):
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


def test_a_partition_of_files_starts_the_refresh_once(airflow):
    day = f"{NOW:%Y-%m-%d}"
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
    assert pending_burst(airflow.lake, REFRESHED) is None
