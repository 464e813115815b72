"""`lastaisle status`, `tables` and `--version`: the state in a few lines, whatever cannot be read."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from lastaisle.dashboard.figures.status import StatusReader
from lastaisle.dashboard.source import Source
from lastaisle.errors import ExitCode
from lastaisle.experiments.traffic import Arm, TrafficMove, Trial, read_traffic, write_move
from lastaisle.lake import Lake
from lastaisle.lake.tables import EVENTS, TIMESTAMP, TRAFFIC, TRAINING_RUNS
from lastaisle.monitor.alerts.log import report
from lastaisle.monitor.alerts.model import Finding
from lastaisle.registry.ledger import Ledger, Move
from lastaisle.settings import Settings

NOON = datetime(2025, 10, 9, 12, tzinfo=UTC)
NOW = NOON + timedelta(hours=5)


@pytest.fixture
def settings(tmp_path):
    return Settings.of(home=tmp_path / "home")


@pytest.fixture
def lake(settings):
    return Lake(settings.lake.url)


def state(settings, now=NOW):
    return StatusReader(Source(settings), now).read()


def lines(found):
    return {part.name: part.problem or "\n".join(part.lines) for part in found.parts}


def with_events(lake):
    schema = pa.schema([("occurred_at", TIMESTAMP), ("event_date", pa.date32())])
    lake.append(EVENTS, pa.table({"occurred_at": [NOON], "event_date": [NOON.date()]}, schema), key="events")
    done = pa.table({"finished_at": [NOON + timedelta(hours=1)], "newest": [NOON]})
    lake.append("batches", done.cast(pa.schema([(name, TIMESTAMP) for name in done.column_names])), key="b")


def with_training(lake, run_id="r1"):
    schema = pa.schema([("run_id", pa.string()), ("finished_at", TIMESTAMP), ("window_end", TIMESTAMP)])
    rows = {"run_id": [run_id], "finished_at": [NOON], "window_end": [NOON - timedelta(hours=8)]}
    lake.append(TRAINING_RUNS, pa.table(rows, schema), key=run_id)


def with_move(lake, settings, action, version="1"):
    ledger = Ledger(lake, settings.registry.model_name)
    alias = "challenger" if action == "register" else "champion"
    before = ledger.standing().aliases[alias]
    named = {"model_name": settings.registry.model_name, "alias": alias, "from_version": before}
    told = {"reason": "It is better. It is faster.", "run_id": f"r{version}", "run_key": "k"}
    ledger.write(Move(f"{action} {version}", NOON, "anna", action, to_version=version, **named, **told))


def test_each_step_of_a_new_shop_names_the_next_command(lake, settings):
    assert state(settings).next_steps == ("ingest logs: lastaisle ingest --source LOGS --format FORMAT",)
    with_events(lake)
    assert state(settings).next_steps == ("train the first candidate: lastaisle train",)
    with_training(lake)
    assert state(settings).next_steps == (
        "evaluate the newest training: lastaisle evaluate --run-id r1",
        "then ask the gate: lastaisle release --run-id r1",
    )
    with_move(lake, settings, "register")
    with_move(lake, settings, "promote")
    assert state(settings).next_steps == ()
    (step,) = state(settings, NOW + timedelta(days=3)).next_steps
    assert step == "ingest newer logs: the newest event came 3 days ago (lastaisle ingest)"


def test_the_state_says_data_champion_decision_trials_and_alerts(lake, settings):
    with_events(lake)
    with_training(lake)
    for action in ("register", "promote"):
        with_move(lake, settings, action)
    trial = Trial(name="canary-2", kind="canary", arms=(Arm(name="control"),), starts_at=NOON)
    write_move(lake, TrafficMove("t", NOON, "running", trial, "because", "tester"), read_traffic(lake))
    report(lake, Finding("drift", "critical", {"day": "2025-10-09"}, "Prices\nmoved.", NOON))
    found = state(settings)
    said = lines(found)
    assert "events to 2025-10-09 12:00 UTC, 5 hours ago; taken in 4 hours ago" in said["data"]
    assert said["champion"].startswith(
        "version 1 since 2025-10-09 12:00 UTC, 5 hours ago; it has learned up to "
    )
    assert said["last decision"].endswith("by anna: Version 1 became champion. It is better.")
    assert said["trials"] == "canary canary-2, since 2025-10-09 12:00 UTC"
    assert said["alerts"] == r"critical drift, since 2025-10-09 12:00 UTC: Prices\nmoved."
    assert found.next_steps == ("look at the open alerts: lastaisle alerts",)
    told = json.loads(json.dumps(found.to_dict(), default=str))
    assert told["champion"]["version"] == "1"
    assert told["alerts"]["open"][0]["rule"] == "drift"


@pytest.mark.parametrize(
    ("table", "part"),
    [("releases", "champion"), ("batches", "data"), (TRAFFIC, "trials"), ("alerts", "alerts")],
)
def test_a_part_that_cannot_be_read_is_named_and_the_others_are_shown(lake, settings, table, part):
    with_events(lake)
    log = Path(lake.table_url(table), "_delta_log")
    log.mkdir(parents=True, exist_ok=True)
    for file in [*log.iterdir(), log / "00000000000000000000.json"]:
        file.write_text("{")
    found = state(settings)
    broken = {each.name for each in found.parts if each.problem}
    assert part in broken
    assert broken <= {part, "last decision"}
    assert found.next_steps[0].startswith("mend what cannot be read: ")
    assert f"the table {table} cannot be read" in lines(found)["lake"]
    assert found.to_dict()[part].keys() == {"problem"}


def test_a_lake_that_is_no_folder_is_said_of_every_part(tmp_path):
    (tmp_path / "file").write_text("")
    found = state(Settings.of(home=tmp_path, lake=str(tmp_path / "file" / "lake")))
    assert len(found.parts) == 7
    assert found.next_steps


def test_the_commands_end_with_0_and_write_reports(call, lake, settings, tmp_path):
    with_events(lake)
    for command in ("status", "tables"):
        shown = call(command, "--report", str(tmp_path / f"{command}.json"))
        assert shown.returncode == 0, shown.stderr
    assert json.loads((tmp_path / "status.json").read_text())["lake"]["tables"] == 2
    listed = json.loads((tmp_path / "tables.json").read_text())["tables"]
    assert {table["table"]: table["rows"] for table in listed} == {"batches": 1, "events": 1}
    Path(lake.table_url("gaps"), "_delta_log").mkdir(parents=True)
    Path(lake.table_url("gaps"), "_delta_log", "00000000000000000000.json").write_text("{")
    assert call("status").returncode == 0
    damaged = call("tables")
    assert damaged.returncode == ExitCode.LAKE_UNUSABLE
    assert "events" in damaged.stdout
    assert "the table gaps cannot be read" in damaged.stderr


def test_the_version_is_printed(call):
    shown = call("--version")
    assert (shown.returncode, shown.stdout.split()[0]) == (0, "lastaisle")
