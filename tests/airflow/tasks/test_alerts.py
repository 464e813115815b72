"""The tasks of `raise_alerts`: they write alerts, tell of them, and send them."""

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from lastaisle.delivery.deliver import NotDeliveredError
from lastaisle.lake import Lake
from lastaisle.monitor.alerts.log import report
from lastaisle_airflow.tasks import alerts
from tests.delivery.receivers import Receiver
from tests.monitor.alerts.test_commands import FINDING


@pytest.fixture
def lake(monkeypatch, tmp_path):
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path))
    return Lake(str(tmp_path / "lake"))


def test_the_check_returns_numbers_and_tells_of_changes(lake, caplog):
    numbers = alerts.check_rules.function()
    assert (numbers["open"], numbers["opened"]) == (0, 0)
    report(lake, FINDING)
    assert alerts.check_rules.function()["open"] == 1
    assert "1 alert is open" in caplog.text


def test_a_wrong_configuration_is_not_tried_again(lake, monkeypatch, tmp_path):
    (tmp_path / "alerts.yaml").write_text("rules: 5\n")
    monkeypatch.setenv("LASTAISLE_ALERTS", str(tmp_path / "alerts.yaml"))
    with pytest.raises(AirflowFailException, match="line 1: rules"):
        alerts.check_rules.function()


def test_without_a_channel_nothing_is_sent(lake):
    with pytest.raises(AirflowSkipException, match="names no channel"):
        alerts.send_alerts.function()


def test_an_alert_is_sent_and_a_channel_that_fails_fails_the_task(lake, monkeypatch, tmp_path):
    service = Receiver(200, 500)
    try:
        monkeypatch.setenv("LASTAISLE_ALERT_URL", service.address)
        monkeypatch.setenv("LASTAISLE_ALERTS", str(tmp_path / "alerts.yaml"))
        text = "channels: [{kind: slack, address_from: LASTAISLE_ALERT_URL}]\ngroup_minutes: 0\n"
        (tmp_path / "alerts.yaml").write_text(text)
        report(lake, FINDING)
        assert alerts.send_alerts.function()["channels"][0]["sent"] == ["alert.raised"]
        assert alerts.send_alerts.function()["channels"][0]["sent"] == []
        report(lake, type(FINDING)(**{**vars(FINDING), "scope": {"source": "orders"}}))
        with pytest.raises(NotDeliveredError, match="500"):
            alerts.send_alerts.function()
    finally:
        service.stop()


def test_without_an_action_nothing_is_started(lake):
    report(lake, FINDING)
    acted = alerts.act_on_alerts.function()
    assert acted == {"actions": [], "training": None}
    with pytest.raises(AirflowSkipException, match="action retrain"):
        alerts.name_training.function(acted)


def test_a_rule_with_the_action_retrain_names_one_training(lake, monkeypatch, tmp_path):
    (tmp_path / "alerts.yaml").write_text(f"rules: {{{FINDING.rule}: {{action: retrain}}}}\n")
    monkeypatch.setenv("LASTAISLE_ALERTS", str(tmp_path / "alerts.yaml"))
    alert = report(lake, FINDING)
    training = alerts.name_training.function(alerts.act_on_alerts.function())
    assert training["run_id"] == f"alert_{alert.id}_{alert.episode}"
    assert FINDING.summary in training["note"]
