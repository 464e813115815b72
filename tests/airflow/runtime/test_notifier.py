"""The notifier for the shop's own DAGs sends a message through the channels of alerts."""

import asyncio

import pytest

from lastaisle.delivery.deliver import NotDeliveredError
from lastaisle.delivery.resolver import ChannelError
from lastaisle_airflow.runtime.notifier import LastaisleNotifier
from tests.airflow.runs import DagRun, TaskInstance

CHANNELS = """\
channels:
  - kind: slack
    name: data team
    address_from: LASTAISLE_ALERT_SLACK_URL
  - kind: pagerduty
    key_from: LASTAISLE_ALERT_PAGERDUTY_KEY
    base_url: {base_url}
    min_severity: critical
"""


@pytest.fixture
def servers(receiver, monkeypatch, tmp_path):
    slack, pager = receiver(), receiver(202)
    file = tmp_path / "alerts.yaml"
    file.write_text(CHANNELS.format(base_url=pager.base_url))
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path))
    monkeypatch.setenv("LASTAISLE_ALERTS", str(file))
    monkeypatch.setenv("LASTAISLE_ALERT_SLACK_URL", slack.address)
    monkeypatch.setenv("LASTAISLE_ALERT_PAGERDUTY_KEY", "a" * 32)
    return slack, pager


def context(error=None):
    return {"ti": TaskInstance(dag_id="shop_report"), "dag_run": DagRun(), "exception": error, "dag": None}


def test_a_failure_reaches_the_channels_of_its_severity(servers):
    slack, pager = servers
    LastaisleNotifier()(context(ValueError("anna@shop.example is unknown")))
    (payload,) = slack.bodies()
    assert payload["text"].startswith("*[warning] Task ingest_batches of shop_report failed*")
    assert "<http://airflow/log|Log>" in payload["text"] and "Error: ValueError." in payload["text"]
    assert "anna" not in payload["text"], "the text of an error may hold personal data"
    assert pager.got == []


def test_an_incident_of_a_task_is_opened_and_resolved_under_one_key(servers):
    _, pager = servers
    LastaisleNotifier(severity="critical", title="The report of {{ ti.dag_id }} is late")(context())
    LastaisleNotifier(severity="critical", kind="resolved")(context())
    opened, resolved = pager.bodies()
    assert opened["payload"]["summary"] == "[critical] The report of shop_report is late"
    assert (opened["event_action"], resolved["event_action"]) == ("trigger", "resolve")
    assert opened["dedup_key"] == resolved["dedup_key"]


def test_a_notifier_may_name_its_channels(servers):
    slack, pager = servers
    LastaisleNotifier(channels=["pagerduty"], severity="critical")(context())
    assert (len(slack.got), len(pager.got)) == (0, 1)
    with pytest.raises(ChannelError, match="there is no channel 'data teem'; do you mean data team"):
        LastaisleNotifier(channels=["data teem"])(context())


def test_it_can_be_awaited(servers):
    async def notify():
        await LastaisleNotifier(context=context())

    asyncio.run(notify())
    assert len(servers[0].got) == 1


def test_a_channel_that_fails_is_named_and_the_others_get_the_message(servers, monkeypatch):
    slack, _ = servers
    monkeypatch.setenv("LASTAISLE_ALERT_PAGERDUTY_KEY", "")
    with pytest.raises(NotDeliveredError, match="LASTAISLE_ALERT_PAGERDUTY_KEY is not set"):
        LastaisleNotifier(severity="critical")(context())
    assert len(slack.got) == 1


def test_without_a_channel_it_says_how_to_make_one(monkeypatch, tmp_path):
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path))
    monkeypatch.delenv("LASTAISLE_ALERTS", raising=False)
    with pytest.raises(ChannelError, match=r"docs/alerts\.sample\.yaml"):
        LastaisleNotifier()(context())
