"""Days that run together give the same tables as days in order, also if the scheduler is killed."""

from contextlib import suppress

import psutil
import pytest

from lastaisle.ingest.options import IngestOptions
from lastaisle.ingest.run import ingest
from lastaisle.lake import Lake
from lastaisle.lake.tables import BATCHES, EVENTS, QUARANTINE, RAW_EVENTS
from lastaisle.privacy.keys import PseudonymKeys
from tests.airflow.scheduler.history import assert_same_tables, days_of, write_history
from tests.services.airflow import Airflow, free_port, heavy_libraries_of, running_airflow

pytestmark = [pytest.mark.service, pytest.mark.timeout(1800)]

DAYS = 6
#: The days that are ingested later, when the scheduler is killed.
MORE_DAYS = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("history")
    write_history(folder / "landing", DAYS + MORE_DAYS)
    return folder


class OneByOne:
    """The tables that one process makes, day by day."""

    def __init__(self, folder):
        self.folder = folder
        self.lake = Lake(folder / "lake")

    def take_in(self, days):
        keys = PseudonymKeys.load_or_create(self.folder / "keys.json", environ={})
        for day in days:
            source = str(self.folder / "landing" / day)
            ingest(source, "canonical", self.lake, keys, options=IngestOptions(gx_sample_rows=0))
        return self.lake


@pytest.fixture(scope="module")
def one_by_one(folder):
    return OneByOne(folder)


@pytest.fixture(scope="module")
def expected(one_by_one):
    return one_by_one.take_in(days_of(DAYS))


@pytest.fixture(scope="module")
def given(folder):
    return {
        "LASTAISLE_GX_SAMPLE_ROWS": "0",
        "LASTAISLE_SOURCE": str(folder / "landing" / "{day}"),
        "LASTAISLE_KEY_FILE": str(folder / "keys.json"),
        "LASTAISLE_AIRFLOW_PORT": str(free_port()),
        "LASTAISLE_MLFLOW_PORT": str(free_port()),
        "LASTAISLE_SERVE_PORT": "0",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "20",
    }


@pytest.fixture(scope="module")
def airflow(folder, given):
    with running_airflow(folder / "airflow", **given) as started:
        yield started


def backfill(airflow, days, *options):
    """Run a backfill to its end, and return the newest run of each day."""
    period = ("--from-date", days[0], "--to-date", days[-1])
    airflow.complete_backfills()
    before = {(run.run_id, run.start) for run in airflow.api.runs("ingest_sessions")}
    airflow.command("backfill", "create", "--dag-id", "ingest_sessions", *period, *options)
    airflow.wait_for("the backfill's end", lambda: all_over(airflow, days, before), timeout=1200)
    newest = airflow.api.newest_by_partition("ingest_sessions")
    return [newest[day] for day in days]


def all_over(airflow, days, before=frozenset()):
    """Return whether each day has a run that began after `before`, and no run goes on."""
    runs = [run for run in airflow.api.runs("ingest_sessions") if (run.run_id, run.start) not in before]
    return {run.partition for run in runs} >= set(days) and all(run.finished for run in runs)


@pytest.fixture(scope="module")
def filled(airflow, expected):
    return backfill(airflow, days_of(DAYS))


def test_every_day_succeeds_and_days_ran_at_the_same_time(filled):
    assert {run.partition: run.state for run in filled} == dict.fromkeys(days_of(DAYS), "success")
    together = [sum(run.start < later.start < run.end for later in filled) for run in filled]
    assert max(together) >= 3


def test_the_tables_equal_the_tables_of_days_in_order(airflow, filled, expected):
    assert_same_tables(airflow.lake, expected)
    broken = airflow.lake.scan(QUARANTINE)
    assert broken.num_rows == DAYS


def test_every_row_is_accounted_for(airflow, filled):
    batches = airflow.lake.scan(BATCHES).to_pylist()
    assert len(batches) == DAYS
    for batch in batches:
        kept = batch["rows_clean"] + batch["rows_quarantined"]
        assert batch["rows_in"] == kept + batch["rows_duplicate"] + batch["rows_ignored"]
    assert sum(batch["rows_duplicate"] for batch in batches) == 10 * (DAYS - 1)


def test_days_that_are_ingested_again_change_no_table(airflow, filled):
    tables = [RAW_EVENTS, QUARANTINE, BATCHES, EVENTS]
    before = airflow.lake.versions(tables)
    runs = backfill(airflow, days_of(2), "--reprocess-behavior", "completed")
    assert {run.state for run in runs} == {"success"}
    assert airflow.lake.versions(tables) == before


def test_no_process_that_forks_tasks_holds_libraries_with_threads(airflow, filled):
    assert heavy_libraries_of(airflow.process.pid) == {}


@pytest.fixture
def orphans():
    """Processes that a dead scheduler left; the end of the test ends them."""
    processes: list[psutil.Process] = []
    yield processes
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def kill_scheduler(airflow: Airflow, orphans: list[psutil.Process]) -> None:
    """Kill the scheduler but not its tasks, and wait until Airflow's other parts end."""
    (scheduler,) = (
        process
        for process in psutil.Process(airflow.process.pid).children(recursive=True)
        if _is_scheduler(process)
    )
    orphans += scheduler.children(recursive=True)
    scheduler.kill()
    assert airflow.process.wait(120) != 0, "no part reported that the scheduler is gone"


def _is_scheduler(process: psutil.Process) -> bool:
    try:
        command = process.cmdline()
    except psutil.Error:  # the task has just ended
        return False
    return "scheduler" in command and "-m" in command


def test_a_backfill_goes_on_where_the_killed_scheduler_left_it(
    airflow, folder, given, filled, one_by_one, orphans
):
    days = days_of(DAYS + MORE_DAYS)[DAYS:]
    airflow.complete_backfills()
    before, rows = airflow.lake.version(RAW_EVENTS), airflow.lake.scan(EVENTS).num_rows
    period = ("--from-date", days[0], "--to-date", days[-1])
    airflow.command("backfill", "create", "--dag-id", "ingest_sessions", *period)
    airflow.wait_for("the first rows", lambda: airflow.lake.version(RAW_EVENTS) != before, 300)
    kill_scheduler(airflow, orphans)
    assert airflow.lake.scan(EVENTS).num_rows - rows < 200 * MORE_DAYS, "the backfill ended before the kill"

    with running_airflow(folder / "airflow", **given) as again:
        again.wait_for("all days", lambda: all_over(again, days), 600)
        newest = again.api.newest_by_partition("ingest_sessions")
        assert {day: newest[day].state for day in days} == dict.fromkeys(days, "success")
        assert_same_tables(again.lake, one_by_one.take_in(days))
