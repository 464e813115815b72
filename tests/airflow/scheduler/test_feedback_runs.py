"""Logs and feedback land as files: runs of the real scheduler bring them to outcomes and figures.

A shopper of these files is erased at the end, and the month is audited.
"""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pyarrow.compute as pc
import pytest

from lastaisle.lake.tables import AUDITS, EVENTS, EXPOSURES, OUTCOMES, SHOP_METRICS, UNATTRIBUTED
from tests.airflow.scheduler.abandoning import over
from tests.airflow.scheduler.feedback import feedback_lines, key_of, land_feedback, visit
from tests.services.waiting import wait_until

pytestmark = [pytest.mark.service, pytest.mark.timeout(900)]

HOUR = "2025-10-01T12"
START = datetime(2025, 10, 1, 12, tzinfo=UTC)
VISITS, SHOWN = 30, 4
ATTRIBUTION, ERASURE, AUDIT = "attribute_outcomes", "erase_subjects", "audit_privacy"


@pytest.fixture(scope="module")
def airflow(hourly_airflow):
    with hourly_airflow.fresh("ingest_sessions", ATTRIBUTION, ERASURE, AUDIT) as started:
        yield started


@pytest.fixture(scope="module")
def key(airflow):
    return key_of(airflow)


def land_visits(airflow, key, hour, first=0):
    """Land the logs of an hour, and the feedback of the same visits: each clicks and orders one item."""
    begin = START + timedelta(hours=hour)
    names = [f"visit-{number}" for number in range(first, first + VISITS)]
    times = [begin + timedelta(seconds=60 * number) for number in range(VISITS)]
    logs = airflow.home / "landing" / f"{begin:%Y-%m-%dT%H}" / "events.jsonl"
    logs.parent.mkdir(parents=True)
    events = [event for name, at in zip(names, times, strict=True) for event in visit(name, at)]
    logs.write_text("".join(json.dumps(event) + "\n" for event in events))
    lines = [
        line for name, at in zip(names, times, strict=True) for line in feedback_lines(name, at, key, SHOWN)
    ]
    land_feedback(airflow.home, begin, lines)


def start_ingestion(airflow, hour):
    """Start the ingestion of an hour; return the id of its run, and the number of attributions before."""
    before = len(airflow.api.runs(ATTRIBUTION))
    body = {"partition_key": f"{START + timedelta(hours=hour):%Y-%m-%dT%H}", "logical_date": None}
    return airflow.api.post("/dags/ingest_sessions/dagRuns", body)["dag_run_id"], before


def ended(airflow, run_id, dag_id="ingest_sessions"):
    """Wait for the end of a run; return it."""

    def ended_run():
        runs = {run.run_id: run for run in airflow.api.runs(dag_id)}
        return runs[run_id] if run_id in runs and runs[run_id].finished else None

    return airflow.wait_for(f"the end of {run_id}", ended_run, timeout=300)


def ingest(airflow, hour=0):
    """Ingest an hour; return the ended run, and the number of attributions before it."""
    run_id, before = start_ingestion(airflow, hour)
    return ended(airflow, run_id), before


def attributed(airflow, before, hours):
    """Wait until the figures have all visits of some hours; return the runs of attribution after `before`."""
    expected = {"exposures": hours * VISITS * SHOWN, "clicks": hours * VISITS, "ordered": hours * VISITS}

    def complete():
        runs = over(airflow, ATTRIBUTION, before + 1)
        return runs[before:] if figures(airflow) == expected else None

    return airflow.wait_for(f"the figures {expected}", complete)


def figures(airflow):
    table = airflow.lake.scan(SHOP_METRICS)
    counted = table.filter(pc.is_valid(table["position"]))
    return {name: pc.sum(counted[name]).as_py() for name in ("exposures", "clicks", "ordered")}


def woken_by(airflow, run):
    """Return the names of the assets whose announcements started a run."""
    path = f"/dags/{run.dag_id}/dagRuns/{quote(run.run_id)}/upstreamAssetEvents"
    return {event["name"] for event in airflow.api.get(path)["asset_events"]}


def versions(airflow):
    return {name: airflow.lake.version(name) for name in (EXPOSURES, OUTCOMES, UNATTRIBUTED, SHOP_METRICS)}


@pytest.fixture(scope="module")
def first_hour(airflow, key):
    """The runs of the first hour: its ingestion, and the attributions that were woken."""
    land_visits(airflow, key, 0)
    run, _ = ingest(airflow)
    return run, attributed(airflow, 0, 1)


def test_exposures_are_taken_in_beside_the_events(airflow, first_hour):
    ingested, _ = first_hour
    assert ingested.state == "success"
    # Exposures belong to no partition: the run that the clock starts at first may have taken them in.
    runs = over(airflow, "ingest_sessions", 1)
    (run,) = (run for run in runs if airflow.states(run)["ingest_exposures"] == ["success"])
    states = airflow.states(run)
    of_exposures = ("plan_exposures", "ingest_exposures", "announce_exposures", "check_exposures")
    assert [states[name] for name in of_exposures] == [["success"]] * 4
    kinds = Counter(airflow.lake.scan(EXPOSURES, ["kind"])["kind"].to_pylist())
    assert kinds == {"shown": VISITS * SHOWN, "clicked": VISITS}
    assert f"shown        {VISITS * SHOWN}" in airflow.log_of(run, "check_exposures")


def test_attribution_wakes_by_itself_and_joins_what_was_clicked_and_ordered(airflow, first_hour):
    _, woken = first_hour
    assert {run.state for run in woken} == {"success"}
    assert HOUR in {run.partition for run in woken}
    assert set.union(*(woken_by(airflow, run) for run in woken)) == {"events", "exposures"}
    rows = airflow.lake.scan(OUTCOMES).to_pylist()
    assert len(rows) == VISITS * SHOWN
    assert {row["position"] for row in rows if row["clicks"]} == {2}
    assert sum(row["clicks"] for row in rows) == sum(row["orders"] for row in rows) == VISITS


def test_run_again_changes_nothing(airflow, first_hour):
    before = versions(airflow)
    run, count = ingest(airflow)
    assert airflow.states(run)["ingest_exposures"] == ["skipped"]
    assert airflow.states(run)["check_exposures"] == ["skipped"]
    for again in over(airflow, ATTRIBUTION, count + 1)[count:]:
        assert airflow.states(again) == {"attribute_outcomes": ["skipped"], "count_metrics": ["skipped"]}
        assert again.state == "success"
    assert versions(airflow) == before


def test_a_broken_file_of_exposures_makes_the_run_red_and_holds_back_nothing(airflow, key, first_hour):
    land_visits(airflow, key, 1, first=VISITS)
    broken = airflow.home / "feedback" / "2025-10-01" / "feedback-broken.jsonl.gz"
    broken.write_bytes(b"\x1f\x8b this is no gzip")
    run, before = ingest(airflow, 1)
    assert run.state == "failed"
    states = airflow.states(run)
    assert states["announce"] == ["success"]
    assert (states["check_sources"], states["check_exposures"]) == (["success"], ["failed"])
    assert "feedback-broken.jsonl.gz" in airflow.log_of(run, "check_exposures")
    attributed(airflow, before, 2)
    broken.unlink()


def test_tasks_that_are_killed_go_on_and_nothing_counts_twice(airflow, key, first_hour):
    land_visits(airflow, key, 2, first=2 * VISITS)
    run_id, before = start_ingestion(airflow, 2)
    killed = [kill_task(airflow, task) for task in ("ingest_exposures", ATTRIBUTION, "count_metrics")]
    assert len(set(killed)) == 3
    runs = attributed(airflow, before, 3)
    assert {run.state for run in [*runs, ended(airflow, run_id)]} == {"success"}
    assert airflow.lake.scan(UNATTRIBUTED).num_rows == 0
    ids = airflow.lake.scan(EXPOSURES, ["exposure_id"])["exposure_id"]
    assert len(pc.unique(ids)) == len(ids) == 3 * VISITS * (SHOWN + 1)
    assert airflow.lake.scan(EVENTS, ["event_id"]).num_rows == 3 * VISITS * 2


def started_by_hand(airflow, dag_id, **params):
    """Start a run, and return it when it has ended."""
    body = {"logical_date": None, "conf": params}
    return ended(airflow, airflow.api.post(f"/dags/{dag_id}/dagRuns", body)["dag_run_id"], dag_id)


def test_a_shopper_is_erased_and_no_run_names_them(airflow, first_hour, tmp_path):
    (tmp_path / "ids.txt").write_text("user-visit-3\n")
    words = ("subjects", "erase", "--later", "--user-id-file", tmp_path / "ids.txt")
    command = [sys.executable, "-c", "from lastaisle.cli import main; main()", *words]
    asked = subprocess.run(
        command, env=airflow.environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert asked.returncode == 0, asked.stderr
    before = {table: airflow.lake.scan(table).num_rows for table in (EVENTS, OUTCOMES)}
    run = started_by_hand(airflow, ERASURE)
    assert (run.state, airflow.states(run)["do_request"]) == ("success", ["success"])
    assert airflow.states(run)["start_retrain_full"] == ["skipped"]  # no version learned from the shopper
    after = {table: airflow.lake.scan(table).num_rows for table in (EVENTS, OUTCOMES)}
    assert after == {EVENTS: before[EVENTS] - 2, OUTCOMES: before[OUTCOMES] - SHOWN}
    (receipt,) = (airflow.home / "subjects" / "receipts").iterdir()
    done = json.loads(receipt.read_text())["receipt"]["done"]
    assert (done["found"], done["proven"]) == (0, True)
    assert "1 request of shoppers done" in note_of(airflow, run)
    assert "visit-3" not in everything_of(airflow, run)
    again = started_by_hand(airflow, ERASURE)
    assert airflow.states(again)["do_request"] == ["skipped"]
    assert again.state == "success"


def test_the_month_is_audited_and_its_page_kept(airflow, first_hour):
    run = started_by_hand(airflow, AUDIT, month="2025-10")
    assert run.state == "success"
    (audit,) = airflow.lake.scan(AUDITS).to_pylist()
    pages = {path.suffix for path in (airflow.home / "audits").iterdir() if path.stem == audit["audit_id"]}
    assert pages == {".html", ".pdf"}
    assert f"{audit['failed']:,} finding" in note_of(airflow, run)
    assert started_by_hand(airflow, AUDIT, month="2025-10").state == "success"
    assert airflow.lake.scan(AUDITS).num_rows == 1


def note_of(airflow, run):
    return airflow.api.get(f"/dags/{run.dag_id}/dagRuns/{quote(run.run_id)}")["note"]


def everything_of(airflow, run):
    """Return what Airflow kept of a run: its logs, and all values of tasks."""
    logs = airflow.home / "airflow" / "logs" / f"dag_id={run.dag_id}" / f"run_id={run.run_id}"
    told = "".join(path.read_text() for path in logs.rglob("*.log"))
    with closing(sqlite3.connect(airflow.home / "airflow" / "airflow.db", timeout=60)) as database:
        values = database.execute("SELECT value FROM xcom WHERE run_id = ?", (run.run_id,)).fetchall()
    assert told
    assert values
    return told + repr(values)


def kill_task(airflow, task_id):
    """Kill the process (SIGKILL) of the next task with this id; return the process's id."""
    query = "SELECT pid FROM task_instance WHERE task_id = ? AND state = 'running' AND pid IS NOT NULL"

    def pid():
        with closing(sqlite3.connect(airflow.home / "airflow" / "airflow.db", timeout=60)) as database:
            found = database.execute(query, (task_id,)).fetchone()
        return found and found[0]

    process = wait_until(f"{task_id} runs", pid, 120)
    os.kill(process, signal.SIGKILL)
    return process
