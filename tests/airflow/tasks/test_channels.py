"""The task of send_test_alert tries each channel, and is not tried again."""

import pytest
from airflow.sdk.exceptions import AirflowFailException

from lastaisle_airflow.tasks.channels import send_test_notices

SLACK = "channels:\n  - {kind: slack, name: team, address_from: LASTAISLE_ALERT_SLACK_URL}\n"


@pytest.fixture
def says(monkeypatch, tmp_path):
    def write(text):
        (tmp_path / "alerts.yaml").write_text(text)

    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path))
    monkeypatch.setenv("LASTAISLE_ALERTS", str(tmp_path / "alerts.yaml"))
    write(SLACK)
    return write


@pytest.mark.parametrize("channel", [None, "", "team"])
def test_the_task_sends_a_test_through_the_channels(says, receiver, monkeypatch, channel):
    server = receiver()
    monkeypatch.setenv("LASTAISLE_ALERT_SLACK_URL", server.address)
    report = send_test_notices.function(params={"channel": channel})
    assert report["channels"][0]["sent"] == ["alert.test"] and len(server.got) == 1


@pytest.mark.parametrize(
    ("text", "channel", "why"),
    [
        (SLACK, None, "it answered 500"),
        (SLACK, "teem", "there is no channel 'teem'; do you mean team"),
        ("channels: []\n", None, "no channel is configured"),
        ("channels: [{kind: sms}]\n", None, "line 1"),
    ],
)
def test_a_channel_that_fails_is_named_and_the_task_is_not_tried_again(
    says, receiver, monkeypatch, text, channel, why
):
    says(text)
    monkeypatch.setenv("LASTAISLE_ALERT_SLACK_URL", receiver(500).address)
    with pytest.raises(AirflowFailException, match=why):
        send_test_notices.function(params={"channel": channel})
