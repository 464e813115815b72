"""`lastaisle alerts test` tries each channel; the sample works when one address is filled in."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lastaisle import cli
from lastaisle.delivery.deliver import NotDeliveredError
from lastaisle.errors import ExitCode

SAMPLE = Path(__file__).resolve().parents[2] / "docs" / "alerts.sample.yaml"


@pytest.fixture
def command(monkeypatch, tmp_path):
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path))
    monkeypatch.setenv("LASTAISLE_ALERTS", str(SAMPLE))
    return lambda *words: CliRunner().invoke(cli.app, ["alerts", "test", *words])


def test_the_sample_works_when_one_address_is_filled_in(command, receiver, monkeypatch, tmp_path):
    server = receiver()
    monkeypatch.setenv("LASTAISLE_ALERT_SLACK_URL", server.address)
    done = command("--report", str(tmp_path / "report.json"))
    assert done.exit_code == 0 and "got alert.test" in done.output
    assert len(server.got) == 1
    assert json.loads((tmp_path / "report.json").read_text())["channels"][0]["sent"] == ["alert.test"]


def test_the_sample_without_the_address_says_which_variable_to_set(command):
    done = command()
    assert isinstance(done.exception, NotDeliveredError)
    assert "LASTAISLE_ALERT_SLACK_URL is not set" in str(done.exception)


def test_every_channel_that_the_sample_shows_works_when_it_is_uncommented(
    command, receiver, mailbox, monkeypatch, tmp_path
):
    text = SAMPLE.read_text().partition("channels:\n")[2].replace("\n#", "\n")
    pager, web, mail = receiver(202), receiver(), mailbox()
    file = tmp_path / "alerts.yaml"
    file.write_text("channels:\n" + text.replace("https://events.eu.pagerduty.com", pager.base_url))
    for name, value in {
        "LASTAISLE_ALERTS": str(file),
        "LASTAISLE_ALERT_SLACK_URL": web.address,
        "LASTAISLE_ALERT_PAGERDUTY_KEY": "a" * 32,
        "LASTAISLE_ALERT_WEBHOOK_URL": web.address,
        "LASTAISLE_WEBHOOK_SECRET": "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz",
        "LASTAISLE_ALERT_SMTP_URL": mail.address(),
    }.items():
        monkeypatch.setenv(name, value)
    done = command()
    assert done.exit_code == 0, done.output
    assert (len(web.got), len(pager.got), len(mail.got)) == (2, 2, 1)


def test_a_channel_that_does_not_exist_is_named(command):
    done = command("data teem")
    assert done.exception.exit_code == ExitCode.WRONG_REQUEST
    assert "do you mean data team" in str(done.exception)


def test_without_a_file_the_command_says_where_a_sample_is(command, monkeypatch):
    monkeypatch.delenv("LASTAISLE_ALERTS")
    for words in ((), ("pager",)):
        done = command(*words)
        assert done.exception.exit_code == ExitCode.WRONG_REQUEST
        assert "docs/alerts.sample.yaml" in str(done.exception)
