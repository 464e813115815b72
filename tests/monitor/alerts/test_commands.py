"""`lastaisle alerts`: what it prints, its exit codes, and its reports."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from lastaisle import cli
from lastaisle.lake import Lake
from lastaisle.monitor.alerts.log import read_alerts, report
from lastaisle.monitor.alerts.model import Evidence, Finding

NOW = datetime.now(UTC)
FINDING = Finding(
    "late_data",
    "critical",
    {"source": "clicks"},
    "Source clicks is [late].",
    NOW,
    (Evidence("Arrivals", table="batches", query="SELECT 1"), Evidence("The run", run_id="r1")),
)


@pytest.fixture
def lake(tmp_path, monkeypatch):
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "250")
    return Lake(tmp_path / "lake")


def run(*arguments, code=0):
    result = CliRunner().invoke(cli.app, ["alerts", *arguments])
    assert result.exit_code == code, result.output + str(result.exception)
    return result.output


def test_without_alerts_the_list_says_so(lake, tmp_path):
    assert "no alerts are open" in run()
    run("list", "--report", str(tmp_path / "r.json"))
    assert json.loads((tmp_path / "r.json").read_text()) == {"open": [], "problems": []}
    assert not (tmp_path / "mlflow").exists()


def test_open_alerts_are_listed_and_shown_with_evidence_and_runbook(lake, tmp_path):
    alert = report(lake, FINDING)
    assert alert.id in run() and "Source clicks is [late]." in run("list")
    told = run("show", alert.id[:5], "--report", str(tmp_path / "r.json"))
    for text in ("source clicks", "SELECT 1", "run r1 in MLflow", "docs/alerts.md#late_data", "opened"):
        assert text in told
    assert json.loads((tmp_path / "r.json").read_text())["changes"][0]["kind"] == "opened"
    assert "opened" in run("history", "--last", "1")


def test_an_id_that_no_alert_has_is_refused(lake):
    result = CliRunner().invoke(cli.app, ["alerts", "show", "zz"])
    assert "begins with 'zz'" in str(result.exception)


def test_an_alert_is_silenced_and_unsilenced_by_id(lake):
    alert = report(lake, FINDING)
    run("silence", alert.id, "--for", "2", "--reason", "known")
    (held,) = read_alerts(lake).open()
    assert held.silence.reason == "known" and held.silenced_until - NOW > timedelta(hours=1.9)
    assert "silent until" in run()
    assert "silent no more" in run("unsilence", alert.id)
    assert "was not silent" in run("unsilence", alert.id)
    assert read_alerts(lake).open()[0].silence is None


def test_a_rule_or_one_scope_is_silenced_until_a_day(lake):
    report(lake, FINDING)
    run("silence", "late_data", "--until", "2999-01-01", "--reason", "a pause", "--scope", "source=other")
    assert read_alerts(lake).open()[0].silence is None
    run("silence", "late_data", "--until", "2999-01-01", "--reason", "a pause")
    assert read_alerts(lake).open()[0].silenced_until == datetime(2999, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "arguments",
    [
        ["silence", "late_data"],
        ["silence", "late_data", "--reason", "x", "--for", "-1"],
        ["silence", "late_data", "--reason", "x", "--scope", "source"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_refused(lake, arguments):
    run(*arguments, code=2)


def test_a_check_ends_with_29_while_an_alert_is_open_that_is_not_silenced(lake, tmp_path):
    assert "no alerts are open" in run("check")
    alert = report(lake, FINDING)
    assert "1 alert is open" in run("check", "--dry-run", "--report", str(tmp_path / "r.json"), code=29)
    assert json.loads((tmp_path / "r.json").read_text())["open"][0]["id"] == alert.id
    run("silence", alert.id, "--reason", "known")
    run("check")
