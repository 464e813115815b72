"""kill -9 of the scheduler in the middle of a backfill: started again, it ends with every row there once."""

from __future__ import annotations

from contextlib import suppress

import psutil
import pytest

from lastaisle.ingest.options import IngestOptions
from lastaisle.ingest.run import ingest
from lastaisle.lake import Lake
from lastaisle.privacy.keys import PseudonymKeys
from tests.airflow.scheduler.history import assert_same_tables, days_of, write_history
from tests.services.airflow import Airflow, free_port, running_airflow

pytestmark = [pytest.mark.service, pytest.mark.timeout(900)]

DAYS = 4


@pytest.fixture
def orphans():
    """Processes that a dead scheduler left behind; whatever of them still runs is ended with the test."""
    left: list[psutil.Process] = []
    yield left
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def kill_scheduler(airflow: Airflow, orphans: list[psutil.Process]) -> None:
    """Kill the scheduler and leave its tasks to themselves; wait until Airflow's other parts gave up."""
    (scheduler,) = (
        process
        for process in psutil.Process(airflow.process.pid).children(recursive=True)
        if _is_scheduler(process)
    )
    orphans += scheduler.children(recursive=True)
    scheduler.kill()
    assert airflow.process.wait(120) != 0, "nobody was told that the scheduler is gone"


def _is_scheduler(process: psutil.Process) -> bool:
    try:
        command = process.cmdline()
    except psutil.Error:  # a task that has just ended
        return False
    return "scheduler" in command and "-m" in command


def test_a_backfill_goes_on_where_the_killed_scheduler_left_it(tmp_path, orphans):
    write_history(tmp_path / "landing", DAYS)
    given = {
        "LASTAISLE_SOURCE": str(tmp_path / "landing" / "{day}"),
        "LASTAISLE_KEY_FILE": str(tmp_path / "keys.json"),
        "LASTAISLE_AIRFLOW_PORT": str(free_port()),
        "LASTAISLE_MLFLOW_PORT": str(free_port()),
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "20",
    }
    with running_airflow(tmp_path / "airflow", **given) as airflow:
        days = days_of(DAYS)
        period = ("--from-date", days[0], "--to-date", days[-1])
        airflow.command("backfill", "create", "--dag-id", "ingest_sessions", *period)
        airflow.wait_for("the first rows", lambda: airflow.lake.version("raw_events") is not None, 300)
        kill_scheduler(airflow, orphans)
        assert (airflow.lake.scan("events").num_rows or 0) < 200 * DAYS, "it was over before"

    with running_airflow(tmp_path / "airflow", **given) as airflow:

        def over():
            runs = [run for run in airflow.api.runs("ingest_sessions") if run.partition in days]
            return runs if len(runs) == DAYS and all(run.finished for run in runs) else None

        runs = airflow.wait_for("all days", over, 600)
        assert {run.partition: run.state for run in runs} == dict.fromkeys(days_of(DAYS), "success")
        found = airflow.lake
    expected = Lake(tmp_path / "expected")
    keys = PseudonymKeys.load_or_create(tmp_path / "keys.json", environ={})
    for day in days_of(DAYS):
        source = str(tmp_path / "landing" / day)
        ingest(source, "canonical", expected, keys, options=IngestOptions(gx_sample_rows=0))
    assert_same_tables(found, expected)
