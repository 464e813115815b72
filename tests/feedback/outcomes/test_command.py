"""The command `lastaisle attribute`: its report and its exit codes."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from lastaisle import cli
from lastaisle.errors import ReconciliationError
from lastaisle.lake import Lake
from lastaisle.lake.tables import OUTCOMES, SHOP_METRICS

from .shop import event, feedback, put, versions


@pytest.fixture
def lake(tmp_path, monkeypatch):
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path))
    return Lake(tmp_path / "lake")


def run(tmp_path, *arguments):
    file = tmp_path / "report.json"
    done = CliRunner().invoke(
        cli.app, ["attribute", "--report", str(file), *arguments], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    return json.loads(file.read_text())


def test_one_command_brings_outcomes_and_figures_up_to_date(lake, tmp_path):
    put(lake, feedback("shown", "a", 0), feedback("clicked", "a", 1), feedback("clicked", "z", 1))
    put(lake, event("item_viewed", "a", 1))
    report = run(tmp_path)
    assert (report["days"], report["changed_days"]) == (["2025-10-09"], ["2025-10-09"])
    counts = [report[name] for name in ("exposures", "clicks", "views", "clicks_received")]
    assert (counts, report["unattributed_by_reason"]) == ([1, 1, 1, 2], {"item_not_in_list": 1})
    assert report["versions"].keys() >= {"events", "exposures"}
    assert lake.scan(SHOP_METRICS).num_rows > 0
    before = versions(lake), lake.version(SHOP_METRICS)
    again = run(tmp_path)
    assert (again["days"], again["days_counted"], again["exposures"]) == ([], [], 1)
    assert (versions(lake), lake.version(SHOP_METRICS)) == before
    assert run(tmp_path, "--all")["days_counted"] == ["2025-10-09"]


def test_an_empty_lake_has_nothing_to_attribute_and_the_command_says_what_to_do(lake, tmp_path):
    assert run(tmp_path)["exposures"] == 0
    assert versions(lake) == {}
    done = CliRunner().invoke(cli.app, ["attribute"])
    assert f"the lake {lake.url} has no exposures: ingest some by lastaisle exposures ingest" in done.stderr
    put(lake, feedback("shown", "a", 0))
    assert CliRunner().invoke(cli.app, ["attribute"]).stderr == ""


def test_outcomes_that_lack_rows_are_an_error_that_says_what_to_do(lake):
    put(lake, feedback("shown", "a", 0))
    cli_run = CliRunner()
    assert cli_run.invoke(cli.app, ["attribute"]).exit_code == 0
    lake.table(OUTCOMES).delete("item_id = 'a'")
    failed = cli_run.invoke(cli.app, ["attribute"])
    assert isinstance(failed.exception, ReconciliationError)
    assert "2025-10-09: 1 and 0" in str(failed.exception)
