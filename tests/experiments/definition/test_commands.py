"""The commands plan, apply, list and stop."""

from __future__ import annotations

import json
import re
from datetime import date

import duckdb
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from lastaisle import cli
from lastaisle.errors import ExitCode
from lastaisle.experiments.traffic import read_traffic
from tests.experiments.analysis.worlds import World, at

from .defining import Shop, experiment


@pytest.fixture
def shop(tmp_path, monkeypatch):
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "300")
    return Shop(tmp_path)


def run(*arguments: str):
    return CliRunner().invoke(cli.app, ["experiments", *arguments])


def test_an_experiment_is_planned_applied_listed_and_stopped(shop, tmp_path):
    path = shop.write(experiment("demo", "stop: 2100-01-01T00:00:00Z"))
    planned = run("plan", str(path))
    assert planned.exit_code == 0, planned.output
    assert "demo: starts: experiment of control 0.5, popular 0.5" in planned.output
    assert "1 planned, 0 refused" in planned.output
    report = tmp_path / "report.json"
    assert run("apply", "--report", str(report)).exit_code == 0
    [applied] = json.loads(report.read_text())["applied"]
    assert (applied["name"], applied["outcome"]) == ("demo", "started")
    assert "demo: as before" in run("apply").output
    assert run("list", "--report", str(report)).exit_code == 0
    [row] = json.loads(report.read_text())["trials"]
    assert row["until"].startswith("2100-01-01")
    stopped = run("stop", "demo", "--reason", "CTR fell")
    assert stopped.output.strip() == "demo: stopped: CTR fell"
    assert "demo: over: stopped since" in run("stop", "demo", "--reason", "again").output
    assert run("list", "--report", str(report)).exit_code == 0
    assert json.loads(report.read_text())["trials"][0]["state"] == "stopped"


def test_a_refused_definition_exits_with_2_and_the_others_are_applied(shop):
    shop.write(experiment("good"), "good.yaml")
    shop.write(experiment("bad", "prio: 1"), "bad.yaml")
    for command in ("plan", "apply"):
        ended = run(command)
        assert ended.exit_code == ExitCode.WRONG_REQUEST
        assert "bad.yaml: line 6: prio: there is no such key" in ended.output
        assert "good" in ended.output
    assert set(read_traffic(shop.lake).newest()) == {"good"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["stop", "demo", "--reason", " "], "--reason is empty"),
        (["stop", "demo", "--reason", "x"], "none was ever applied"),
        (["plan", "typo.yaml"], "there is no such file or folder"),
        (["list", "--sql", "demo"], "none was ever applied"),
    ],
)
def test_wrong_requests_say_what_is_wrong(shop, arguments, said):
    ended = run(*arguments)
    assert ended.exit_code
    assert said in ended.output + str(ended.exception)


def test_without_experiments_the_list_says_what_to_do(shop):
    assert "lastaisle experiments apply" in run("list").output


def test_lists_and_shoppers_are_counted(shop):
    shop.write(experiment())
    run("apply")
    rows = [
        {"experiment": "demo", "kind": kind, "recommendation_id": made, "user_id": user, "session_id": "v"}
        | {"event_date": date(2026, 3, 1)}
        for kind, made, user in [
            ("shown", "l1", "anna"),
            ("shown", "l1", "anna"),
            ("shown", "l2", "anna"),
            ("shown", "l3", None),
            ("clicked", "l4", "bob"),
        ]
    ]
    shop.lake.append("exposures", pa.Table.from_pylist(rows), key="x")
    assert re.search(r"│ 3 +│ 2 +│", run("list").output)


def test_the_printed_sql_gives_the_arm_of_each_shopper(shop):
    shop.write(experiment("my-demo", "buckets: [2000, 9000]"))
    run("apply")
    trial = read_traffic(shop.lake).newest()["my-demo"].trial
    printed = run("list", "--sql", "my-demo").output
    duckdb.execute(printed)
    world = World(shop.lake)
    units = [world.trial.name + str(number) for number in range(200)]
    now = trial.starts_at
    found = [duckdb.execute("SELECT arm_of_my_demo(?, ?)", [unit, now]).fetchone()[0] for unit in units]
    service = [trial.arm_of(unit, now) if trial.takes(unit, "cart", {}, now) else None for unit in units]
    assert found == service
    assert set(found) == {"control", "popular", None}
    assert duckdb.execute("SELECT arm_of_my_demo('a', ?)", [at(-10_000)]).fetchone() == (None,)
