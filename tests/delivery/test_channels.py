"""Which configurations of channels are taken, and how a wrong one is told."""

import pytest
from pydantic import ValidationError

from lastaisle.delivery.channels import channels_of
from lastaisle.delivery.config import ChannelConfig
from lastaisle.delivery.resolver import EnvironmentResolver
from lastaisle.settings import Settings, SettingsError
from lastaisle.settings.fields import PREFIX

SLACK = {"kind": "slack", "address_from": "LASTAISLE_ALERT_SLACK_URL"}
EMAIL = {"kind": "email", "to": ["anna@shop.example"]}
PAGER = {"kind": "pagerduty", "key_from": "LASTAISLE_ALERT_PAGERDUTY_KEY"}
HOOK = {"kind": "webhook", "address_from": "LASTAISLE_ALERT_HOOK"}
URL = "https://hooks.slack.example/services/T0/B0/the-token"
SECRET = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"


@pytest.mark.parametrize(
    "said",
    [
        SLACK,
        {"kind": "slack", "connection": "lastaisle_slack", "name": "Data team", "min_severity": "warning"},
        EMAIL,
        EMAIL | {"sender": "lastaisle@shop.example", "connection": "smtp_default"},
        EMAIL | {"address_from": "LASTAISLE_ALERT_SMTP_URL", "rules": ["drift"]},
        PAGER | {"base_url": "https://events.eu.pagerduty.com"},
        {"kind": "pagerduty", "connection": "pagerduty_events_default"},
        HOOK | {"key_from": "LASTAISLE_WEBHOOK_SECRET"},
        {
            "kind": "airflow",
            "notifier": "airflow.providers.smtp.notifications.smtp.SmtpNotifier",
            "arguments": {},
        },
    ],
)
def test_a_channel_is_taken(said):
    assert ChannelConfig.model_validate(said).shown_name == said.get("name", said["kind"])


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"kind": "sms"}, "should be 'email', 'slack', 'pagerduty', 'webhook' or 'airflow'"),
        ({"kind": "slack"}, "a channel of kind slack needs address_from or connection"),
        ({"kind": "email"}, "a channel of kind email needs to"),
        ({"kind": "pagerduty"}, "needs key_from or connection"),
        ({"kind": "webhook"}, "needs address_from or connection"),
        ({"kind": "airflow"}, "needs notifier"),
        (SLACK | {"to": ["anna@shop.example"]}, "a channel of kind slack has no use for to"),
        (
            PAGER | {"address_from": "LASTAISLE_ALERT_X"},
            "a channel of kind pagerduty has no use for address_from",
        ),
        (SLACK | {"connection": "x"}, "the connection and address_from both say the same: keep one"),
        (
            SLACK | {"address_from": "LASTAISLE_PSEUDONYM_KEY"},
            "should be the name of an environment variable",
        ),
        (SLACK | {"address_from": "HOME"}, "should be the name of an environment variable"),
        (SLACK | {"address_from": "LASTAISLE_ALERT_*"}, "should be the name of an environment variable"),
        (SLACK | {"address_from": URL}, "should be the name of an environment variable"),
        (EMAIL | {"to": []}, "at least 1 item"),
        (EMAIL | {"to": ["anna"]}, "should be a mail address"),
        (EMAIL | {"to": ["anna@shop.example", "anna@shop.example"]}, "stands twice"),
        (EMAIL | {"sender": "a@b\r\nBcc: eve@evil.example"}, "should be a mail address"),
        (PAGER | {"base_url": "http://events.pagerduty.com"}, "is http to another machine"),
        (SLACK | {"rules": []}, "at least 1 item"),
        (SLACK | {"name": "x\ny"}, "match pattern"),
        (SLACK | {"min_severity": "bad"}, "should be 'info', 'warning' or 'critical'"),
        (SLACK | {"url": URL}, "not permitted"),
        ({"kind": "airflow", "notifier": "os;system"}, "match pattern"),
    ],
)
def test_a_wrong_channel_is_refused(said, why):
    with pytest.raises(ValidationError) as error:
        ChannelConfig.model_validate(said)
    assert why in str(error.value)
    assert "the-token" not in " ".join(one["msg"] for one in error.value.errors()), "an address is a secret"


@pytest.mark.parametrize(
    ("said", "value", "why"),
    [
        (SLACK, "", "the environment variable LASTAISLE_ALERT_SLACK_URL is not set"),
        (SLACK, " ", "is not set"),
        (SLACK, "hooks.slack.com/the-token", "the address in LASTAISLE_ALERT_SLACK_URL is no https address"),
        (SLACK, "http://hooks.slack.com/the-token", "is http to another machine"),
        (
            EMAIL | {"address_from": "LASTAISLE_ALERT_SMTP_URL"},
            "mail.shop/the-token",
            "should begin with smtp://",
        ),
        (PAGER, "the-token\r\nx", "should be letters and digits only"),
        (
            HOOK | {"key_from": "LASTAISLE_WEBHOOK_SECRET"},
            "https://shop.example/the-token",
            "secret 1 is not whsec_",
        ),
        (HOOK, "https://shop.example", "the environment variable LASTAISLE_WEBHOOK_SECRET is not set"),
        (
            SLACK | {"address_from": None, "connection": "x"},
            "",
            "only tasks of Airflow read the Airflow connection x",
        ),
        ({"kind": "airflow", "notifier": "a.B"}, "", "only tasks of Airflow use the notifier a.B"),
    ],
)
def test_a_secret_that_is_missing_or_wrong_is_told_and_not_shown(said, value, why):
    variables = {name: value for key in ("address_from", "key_from") if (name := said.get(key))}
    (channel,) = channels_of([ChannelConfig.model_validate(said)], EnvironmentResolver(variables))
    assert why in channel.problem and "the-token" not in channel.problem


def test_another_address_is_another_receiver_and_no_name_of_it_holds_a_secret():
    config = ChannelConfig.model_validate(SLACK)
    receivers = {
        channels_of([config], EnvironmentResolver({"LASTAISLE_ALERT_SLACK_URL": address}))[0].receiver
        for address in (URL, URL, f"{URL}2")
    }
    assert len(receivers) == 2 and "the-token" not in str(receivers)


def test_another_mail_server_or_password_is_the_same_receiver():
    config = ChannelConfig.model_validate(EMAIL | {"address_from": "LASTAISLE_ALERT_SMTP_URL"})
    receivers = {
        channels_of([config], EnvironmentResolver({"LASTAISLE_ALERT_SMTP_URL": address}))[0].receiver
        for address in ("smtp://one", "smtps://anna:x@two")
    }
    assert len(receivers) == 1


def test_an_email_channel_needs_no_secret_where_this_machine_has_a_mail_server():
    assert channels_of([ChannelConfig.model_validate(EMAIL)], EnvironmentResolver({}))[0].problem == ""


def test_the_settings_take_any_variable_of_a_channel_and_no_other():
    assert Settings.from_env({"LASTAISLE_ALERT_SLACK_URL": URL, "LASTAISLE_ALERT_ANY": "x"})
    with pytest.raises(SettingsError, match="ALARM_URL"):
        Settings.from_env({f"{PREFIX}ALARM_URL": "x"})
