"""Six days of history, many days at once, gives the tables that one day after the other gives."""

import pytest

from lastaisle.ingest.options import IngestOptions
from lastaisle.ingest.run import ingest
from lastaisle.lake import Lake
from lastaisle.lake.tables import BATCHES, EVENTS, QUARANTINE, RAW_EVENTS
from lastaisle.privacy.keys import PseudonymKeys
from tests.airflow.scheduler.history import assert_same_tables, days_of, write_history
from tests.services.airflow import heavy_libraries_of, running_airflow

pytestmark = [pytest.mark.service, pytest.mark.timeout(1800)]

DAYS = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("history")
    write_history(folder / "landing", DAYS)
    return folder


@pytest.fixture(scope="module")
def expected(folder):
    """The tables as one process makes them, day by day."""
    lake = Lake(folder / "lake")
    keys = PseudonymKeys.load_or_create(folder / "keys.json", environ={})
    for day in days_of(DAYS):
        source = str(folder / "landing" / day)
        ingest(source, "canonical", lake, keys, options=IngestOptions(gx_sample_rows=0))
    return lake


@pytest.fixture(scope="module")
def airflow(folder):
    given = {
        "LASTAISLE_GX_SAMPLE_ROWS": "0",
        "LASTAISLE_SOURCE": str(folder / "landing" / "{day}"),
        "LASTAISLE_KEY_FILE": str(folder / "keys.json"),
    }
    with running_airflow(folder / "airflow", **given) as started:
        yield started


def backfill(airflow, days, *options):
    """Run a backfill to its end; return the newest run of each day."""
    period = ("--from-date", days[0], "--to-date", days[-1])
    before = len(backfills(airflow))
    airflow.command("backfill", "create", "--dag-id", "ingest_sessions", *period, *options)

    def over():
        found = backfills(airflow)
        return len(found) > before and all(one["completed_at"] for one in found)

    airflow.wait_for("the backfill's end", over, timeout=1200)
    newest = airflow.api.newest_by_partition("ingest_sessions")
    return [newest[day] for day in days]


def backfills(airflow):
    return airflow.api.get("/backfills", dag_id="ingest_sessions")["backfills"]


@pytest.fixture(scope="module")
def filled(airflow, expected):
    return backfill(airflow, days_of(DAYS))


def test_every_day_is_green_and_days_ran_side_by_side(filled):
    assert {run.partition: run.state for run in filled} == dict.fromkeys(days_of(DAYS), "success")
    together = [sum(one.start < other.start < one.end for other in filled) for one in filled]
    assert max(together) >= 3


def test_the_tables_are_those_of_one_day_after_the_other(airflow, filled, expected):
    assert_same_tables(airflow.lake, expected)
    broken = airflow.lake.scan(QUARANTINE)
    assert broken.num_rows == DAYS


def test_every_row_is_accounted_for(airflow, filled):
    batches = airflow.lake.scan(BATCHES).to_pylist()
    assert len(batches) == DAYS
    for batch in batches:
        assert batch["rows_in"] == batch["rows_clean"] + batch["rows_quarantined"] + batch["rows_duplicate"]
    assert sum(batch["rows_duplicate"] for batch in batches) == 10 * (DAYS - 1)


def test_days_taken_in_again_change_no_table(airflow, filled):
    tables = [RAW_EVENTS, QUARANTINE, BATCHES, EVENTS]
    before = airflow.lake.versions(tables)
    runs = backfill(airflow, days_of(2), "--reprocess-behavior", "completed")
    assert {run.state for run in runs} == {"success"}
    assert airflow.lake.versions(tables) == before


def test_no_process_that_forks_tasks_holds_libraries_with_threads(airflow, filled):
    assert heavy_libraries_of(airflow.process.pid) == {}
