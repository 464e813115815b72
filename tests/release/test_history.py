"""The ledger read by people: the moves, what served then, and why a version is where it is."""

import json
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from lastaisle import cli
from lastaisle.errors import ExitCode
from lastaisle.experiments.traffic import Arm, TrafficMove, Trial, read_traffic, write_move
from lastaisle.lake import Lake
from lastaisle.lake.tables import RELEASES_SCHEMA
from lastaisle.registry.ledger import Ledger, Move
from lastaisle.release.gate import Check, Decision

NOON = datetime(2025, 10, 9, 12, tzinfo=UTC)
DECISION = Decision(True, (Check("coverage", True, "It covers enough.", 0.4, ">= 0.3500"),))
MODEL = "checkout-recommender"


@pytest.fixture
def ledger(tmp_path, monkeypatch):
    """One move an hour: 1 and 2 are promoted, 3 is refused, 2 is rolled back to 1."""
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "300")
    ledger = Ledger(Lake(str(tmp_path / "lake")), MODEL)
    told = [("register", "1"), ("promote", "1"), ("register", "2"), ("promote", "2")]
    told += [("register", "3"), ("refuse", "3"), ("rollback", "1")]
    for hour, (action, version) in enumerate(told):
        alias = "challenger" if action == "register" else "champion"
        ledger.write(
            Move(
                move_id=f"m{hour}",
                moved_at=NOON + timedelta(hours=hour),
                actor="anna",
                action=action,
                model_name=MODEL,
                alias=alias,
                from_version=ledger.standing().aliases[alias],
                to_version=version,
                reason=f"Reason {hour}.",
                run_id=f"r{version}",
                run_key="k",
                decision=DECISION.to_json() if action in ("promote", "refuse") else None,
            )
        )
    ended = pa.array([NOON, NOON], pa.timestamp("us", "UTC"))
    runs = pa.table({"run_id": ["r1", "r2"], "warm_start_version": [None, "1"], "finished_at": ended})
    runs = runs.append_column("lake_versions", pa.array(["{}", "{}"]))
    ledger.lake.append("training_runs", runs, key="trainings")
    return ledger


def ask(*words):
    return CliRunner().invoke(cli.app, ["releases", *words])


def reported(tmp_path, *words):
    file = tmp_path / "report.json"
    asked = ask(*words, "--report", str(file))
    assert asked.exit_code == 0, asked.output
    return json.loads(file.read_text())


def test_the_moves_are_listed_all_or_since_a_time_or_of_a_version(ledger, tmp_path):
    shown = ask()
    assert shown.exit_code == 0
    for text in ("2025-10-09 18:00:00", "rollback", "anna", "Reason 6."):
        assert text in shown.output
    assert [move["move_id"] for move in reported(tmp_path, "--since", "2025-10-09T17:00")["moves"]] == [
        *("m5", "m6")
    ]
    assert [move["move_id"] for move in reported(tmp_path, "--version", "2")["moves"]] == ["m2", "m3", "m6"]
    assert reported(tmp_path, "--version", "9")["moves"] == []
    assert ask("--since", "soon").exit_code == ExitCode.WRONG_REQUEST


@pytest.mark.parametrize(
    ("moment", "champion", "previous"),
    [
        ("2025-10-09T12:30", None, None),
        ("2025-10-09T13:00", "1", None),
        ("2025-10-09T15:00:00+00:00", "2", "1"),
        ("2025-10-09T17:59", "2", "1"),
        ("2025-10-09T20:00+02:00", "1", None),
        ("2030-01-01", "1", None),
    ],
)
def test_what_served_at_a_time(ledger, tmp_path, moment, champion, previous):
    then = reported(tmp_path, "at", moment)
    assert (then["aliases"]["champion"], then["aliases"]["previous"]) == (champion, previous)
    assert (then["champion"] and then["champion"]["version"]) == champion


def test_the_trials_that_ran_then_are_named(ledger):
    trial = Trial(
        name="canary-3",
        kind="canary",
        arms=(Arm(name="control"), Arm(name="canary", version="3")),
        starts_at=NOON,
    )
    for hour, state in ((5, "running"), (6, "stopped")):
        move = TrafficMove(f"t{hour}", NOON + timedelta(hours=hour), state, trial, "because", "tester")
        write_move(ledger.lake, move, read_traffic(ledger.lake))
    assert "trial canary-3: control champion, canary 3" in ask("at", "2025-10-09T17:30").output
    assert "canary-3" not in ask("at", "2025-10-09T18:00").output
    assert (
        "version 1 served since 2025-10-09 18:00:00 UTC: rollback by anna" in ask("at", "2025-10-10").output
    )
    assert "no version served" in ask("at", "2025-10-09").output


def test_why_a_version_is_where_it_is(ledger, tmp_path):
    story = reported(tmp_path, "why", "2")
    assert story["outcome"].startswith("Version 2 was rolled back on 2025-10-09 18:00 UTC by anna")
    assert story["outcome"].endswith("Reason 6.")
    assert (story["line"], story["verdict"]) == (["1"], "promote")
    assert [check["threshold"] for check in story["checks"]] == [">= 0.3500"]
    assert [(time["since"], time["until"]) for time in story["served"]] == [
        ("2025-10-09 15:00:00+00:00", "2025-10-09 18:00:00+00:00")
    ]
    shown = ask("why", "2").output
    for text in ("learned on from version 1", "coverage", ">= 0.3500", "passed", "run r2. Reason 2."):
        assert text in shown
    assert "(refuse of version 3): Reason 5." in ask("why", "3").output
    assert "Version 1 is champion since 2025-10-09 18:00 UTC" in ask("why", "1").output
    unknown = ask("why", "9")
    assert unknown.exception.exit_code == ExitCode.NO_SUCH_VERSION
    assert "has no version '9'; it has 1, 2, 3" in str(unknown.exception)


def test_commands_name_a_row_that_was_changed(ledger):
    whole = ask("verify")
    assert whole.exit_code == ExitCode.MODEL_DAMAGED, "MLflow has none of the versions"
    assert f"ledger: whole: 7 entries, 0 of older releases; end {ledger.check().end}" in whole.output
    rows = [{**row, "actor": "nobody"} if row["move_id"] == "m6" else row for row in ledger.rows()]
    table = pa.Table.from_pylist(rows, schema=RELEASES_SCHEMA)
    ledger.lake.overwrite("releases", table, key="by hand")
    for words in (["releases", "verify"], ["maintain", "--table", "releases"]):
        told = CliRunner().invoke(cli.app, words)
        assert getattr(told.exception, "exit_code", told) == ExitCode.LEDGER_CHANGED
        assert "(rollback of version 1 of 2025-10-09 18:00 UTC) was changed" in str(told.exception)
