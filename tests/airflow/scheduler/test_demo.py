"""The demo on the real scheduler: two simulated days, a refusal, a rollback, then the same command again."""

import json
import os
import re
import sqlite3
import stat
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from lastaisle.catalogue.history import read_catalogue
from lastaisle.settings import Settings
from tests.airflow.scheduler.asking import Backend
from tests.services.airflow import free_port

ROOT = Path(__file__).resolve().parents[3]
DAYS = ["2025-10-01", "2025-10-02"]
FOLLOWED = timedelta(seconds=5)
MOST_LINES = 30  # of the log of a task; about ten of them are Airflow's own
#: What a successful task may warn of: a refusal, a champion that moved by hand.
WARNED = ("v1 refused", "v2 refused", "v3 refused", "rolled back")
#: This task warns of alerts. It runs every ten minutes, so only a demo that goes on then has its log.
RAISES = "raise_alerts/check_rules"
ALERTS = re.compile(r"(opened|changed|resolved) \[|\d+ alerts? (is|are) open$")

pytestmark = [pytest.mark.service, pytest.mark.timeout(1800)]


def run_demo(home, port=0):
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("LASTAISLE_", "AIRFLOW_"))
    }
    environment = {
        **inherited,
        "LASTAISLE_HOME": str(home),
        "LASTAISLE_AIRFLOW_PORT": str(free_port()),
        "LASTAISLE_MLFLOW_PORT": str(free_port()),
        "LASTAISLE_SERVE_PORT": str(port),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "plugins")]),
    }
    command = [sys.executable, "-m", "lastaisle_airflow.local.demo", "--days", "2", "--no-serve"]
    ended = subprocess.run(
        command, env=environment, cwd=home, capture_output=True, text=True, check=False, umask=0o022
    )
    assert ended.returncode == 0, f"{ended.stdout[-3000:]}\n{ended.stderr[-3000:]}"
    return ended.stdout


def query(home, sql):
    with sqlite3.connect(home / "airflow" / "airflow.db") as connection:
        return connection.execute(sql).fetchall()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def backend(home):
    return Backend(home, free_port())


@pytest.fixture(scope="module")
def output(home, backend):
    with backend:
        return run_demo(home, backend.port)


@pytest.fixture(scope="module")
def lake(home, output):
    from lastaisle.lake import Lake

    return Lake(Settings.of(home=home).lake.url)


def test_each_partition_is_ingested_once_and_trains_once_in_order(home, output):
    for dag_id in ("ingest_sessions", "retrain_incremental"):
        runs = query(
            home,
            "SELECT partition_key, state FROM dag_run "
            f"WHERE dag_id = '{dag_id}' AND run_type != 'scheduled' ORDER BY start_date",
        )
        assert runs == [(day, "success") for day in DAYS], dag_id


def test_every_row_is_accounted_for(lake):
    batches = lake.scan("batches").to_pylist()
    assert len(batches) == len(DAYS)
    for batch in batches:
        kept = batch["rows_clean"] + batch["rows_quarantined"]
        assert batch["rows_in"] == kept + batch["rows_duplicate"] + batch["rows_ignored"]
        assert batch["rows_quarantined"] > 0, "the simulated shop breaks some rows"
    clean = sum(batch["rows_clean"] for batch in batches)
    assert lake.scan("raw_events", ["event_id"]).num_rows == clean
    assert lake.scan("events", ["event_id"]).num_rows == clean


def test_the_second_day_was_warm_started_from_the_first(lake):
    runs = sorted(lake.scan("training_runs").to_pylist(), key=lambda row: row["started_at"])
    kinds = [row["kind"] for row in runs]
    assert kinds == ["incremental", "incremental", "full"]
    assert [row["run_key"].split("-")[1][:8] for row in runs[:2]] == ["20251002", "20251003"]


def test_the_starved_candidate_was_refused_and_the_champion_moved_back(home, lake):
    from lastaisle.registry.ledger import Ledger
    from lastaisle.registry.registry import Registry

    settings = Settings.of(home=home)
    moves = Ledger(lake, settings.registry.model_name).moves()
    decided = [
        (move.action, move.from_version, move.to_version)
        for move in moves
        if move.action not in ("register", "anchor")
    ]
    assert decided[0] == ("promote", None, "1")
    assert ("refuse", decided[1][2] if decided[1][0] == "promote" else "1", "3") in decided
    if decided[1][0] == "promote":  # else there is no previous champion to return to
        assert decided[-1] == ("rollback", "2", "1")
        assert moves[-1].reason == "The demo shows a rollback."
    assert Registry(settings).aliases() == {"challenger": "3", "champion": "1", "anchor": "1"}


def test_the_service_follows_each_move_in_five_seconds_and_fails_no_request(home, output, lake, backend):
    from lastaisle.registry.ledger import Ledger

    moves = Ledger(lake, Settings.of(home=home).registry.model_name).moves()
    followed = [move for move in moves if move.action in ("promote", "rollback")][1:]
    assert followed, "the demo shows a rollback if the second day was promoted"
    asked = backend.answered()
    assert len(asked) > 100
    assert [one for one in asked if one.status != 200] == []
    for move in followed:
        served = [one.at for one in asked if one.at >= move.moved_at and one.version == move.to_version]
        assert served and served[0] - move.moved_at < FOLLOWED, f"{move.action} to {move.to_version}"


def test_the_demo_ends_with_a_command_that_asks_the_service(home, lake, output):
    assert re.search(rf"^\$ curl .*{home}/keys/serve.*/v1/recommendations$", output, re.MULTILINE)
    assert output.count("next     ") == 2, "the model and the service answer the same session"
    by_model, by_service = (
        re.findall(r"(\S+) \([\d.]+\)", line) for line in re.findall(r"^  next +(.*)$", output, re.MULTILINE)
    )
    catalogue = read_catalogue(lake).to_pylist()
    for_sale = {row["item_id"] for row in catalogue if row["available"]}
    assert 0 < len(for_sale) < len(catalogue)
    assert len(by_service) == 5
    assert set(by_service) <= for_sale, "the service shows nothing that is sold out"
    kept = [item for item in by_model if item in for_sale]
    assert by_service[: len(kept)] == kept, "the service fills up the model's list"


def test_the_catalogue_is_ingested_once(home, lake, output):
    assert query(home, "SELECT state FROM dag_run WHERE dag_id = 'ingest_catalogue'") == [("success",)]
    (batch,) = lake.scan("catalogue_batches").to_pylist()
    assert batch["rows_quarantined"] == 0
    assert batch["rows_clean"] == lake.scan("items", ["item_id"]).num_rows


def test_tasks_link_to_their_mlflow_run(home, lake):
    links = query(home, "SELECT task_id, value FROM xcom WHERE key = '_link_MlflowRunLink'")
    linked = {
        task: {link.strip('"').rpartition("/")[2].partition("?")[0] for name, link in links if name == task}
        for task, _ in links
    }
    trained = set(lake.scan("training_runs", ["run_id"])["run_id"].to_pylist())
    for task in ("train_and_evaluate", "release_candidate"):
        assert trained <= linked[task]


def test_xcom_carries_references_only(home, output):
    assert query(home, "SELECT max(length(value)) FROM xcom")[0][0] < 8000


def logs_of_successful_tasks(home):
    """Return the records of the log of each successful task, by the log's path."""
    columns = "dag_id, run_id, task_id, map_index, try_number"
    rows = query(home, f"SELECT {columns} FROM task_instance WHERE state = 'success' AND start_date NOTNULL")
    found = {}
    for dag_id, run_id, task_id, map_index, number in rows:
        place = f"dag_id={dag_id}/run_id={run_id}/task_id={task_id}"
        mapped = f"/map_index={map_index}" if map_index >= 0 else ""
        lines = (home / "airflow" / "logs" / f"{place}{mapped}" / f"attempt={number}.log").read_text()
        found[f"{dag_id}/{task_id}"] = [json.loads(line) for line in lines.splitlines()]
    return found


def test_the_log_of_a_successful_task_has_no_error_and_no_notes_of_libraries(home, output):
    logs = logs_of_successful_tasks(home)
    assert logs.keys() >= {
        f"ingest_sessions/{task}" for task in ("plan_batches", "ingest_batches", "anonymize_shard")
    }
    assert logs.keys() >= {
        f"{dag_id}/{task}"
        for dag_id in ("retrain_incremental", "retrain_full")
        for task in ("plan_window", "train_and_evaluate", "release_candidate")
    }
    assert "rollback_model/move_champion" in logs
    for name, records in logs.items():
        errors = [record["event"] for record in records if record["level"] in ("error", "critical")]
        assert errors == [], name
        assert len(records) < MOST_LINES, name
        warned = [record["event"] for record in records if record["level"] == "warning"]
        if name == RAISES:
            warned = [line for line in warned if not ALERTS.match(line)]
        assert [line for line in warned if not line.startswith(WARNED)] == [], name
        assert not any("Returned value was" in record["event"] for record in records), name
        loggers = {record["logger"].partition(".")[0] for record in records}
        noisy = {"absl", "alembic", "botocore", "great_expectations", "openlineage", "tensorflow"}
        assert not loggers & noisy, name


def test_each_run_carries_its_outcome_as_a_note(home, output):
    query_notes = (
        "SELECT dag_id, content FROM dag_run LEFT JOIN dag_run_note ON id = dag_run_id "
        "WHERE state IN ('success', 'failed') ORDER BY start_date"
    )
    notes = {}
    for dag_id, note in query(home, query_notes):
        notes.setdefault(dag_id, []).append(note)
    assert [dag_id for dag_id, told in notes.items() if not all(told)] == []
    clean = [note for note in notes["ingest_sessions"] if "rows clean, " in note]
    assert len(clean) == len(DAYS)
    assert re.match(
        r"v1 promoted as the first champion, recall@20 0\.\d{3} \(\[MLflow run\]",
        notes["retrain_incremental"][0],
    )
    assert re.match(r"v3 refused\b.*recall@20 0\.\d{3} against 0\.\d{3}", notes["retrain_full"][0])
    assert re.match(r"\d,\d{3} items changed, 0 removed, 0 quarantined$", notes["ingest_catalogue"][0])
    dry, real = notes["rollback_model"]
    assert dry == "dry run: v2 to v1 would be the move, nothing moved"
    assert real == "rolled back: v2 to v1: The demo shows a rollback"


def test_a_refusal_is_a_warning_in_its_log(home, output):
    records = logs_of_successful_tasks(home)["retrain_full/release_candidate"]
    (warned,) = [record["event"] for record in records if record["level"] == "warning"]
    assert warned.startswith("v3 refused")


def test_the_log_of_a_run_says_what_became_of_its_rows(home, output, lake):
    texts = [record["event"] for record in logs_of_successful_tasks(home)["ingest_sessions/check_sources"]]
    (text,) = [text for text in texts if text.startswith("1 of 1 sources were taken in:")]
    batches = lake.scan("batches", ["rows_in", "rows_quarantined"]).to_pylist()
    counts = {
        re.search(rf"{label} +([\d,]+)", text).group(1).replace(",", "")
        for label in ("rows in", "quarantined")
    }
    assert counts in [{str(count) for count in batch.values()} for batch in batches]


def test_simulated_logs_are_called_so_and_the_model_answers(output):
    assert "SIMULATED" in output
    assert re.search(r"next +\S+ \(\d", output)


def mode_of(path):
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:  # SQLite deletes its journals when the last connection ends
        return 0


def test_only_its_own_account_reads_the_demos_files(home, output):
    paths = [path for path in home.rglob("*") if not path.is_symlink()]
    assert {path.name for path in paths} >= {"airflow.db", "airflow.cfg", "raw_events", "landing"}
    assert [str(path) for path in paths if mode_of(path) & 0o077] == []


def test_nothing_is_left_running(home, output):
    left = [
        p.info["cmdline"]
        for p in psutil.process_iter(["cmdline"])
        if str(home) in " ".join(p.info["cmdline"] or [])
    ]
    assert left == []


def test_the_same_command_again_changes_nothing(home, lake):
    before = lake.versions(["raw_events", "events", "training_runs", "releases", "quarantine"])
    again = run_demo(home)
    assert lake.versions(list(before)) == before
    assert again.count("2025-10-0") >= len(DAYS)
    assert "backfill create" not in again
