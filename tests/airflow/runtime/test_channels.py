"""Channels take their secrets from Airflow's connections, and use Airflow's notifiers."""

import json

import pytest

from lastaisle.delivery.channels import channels_of
from lastaisle.delivery.config import ChannelConfig
from lastaisle.delivery.deliver import send_test
from lastaisle.delivery.mail import server_of
from lastaisle.delivery.resolver import ChannelError
from lastaisle_airflow.runtime.channels import AirflowResolver
from tests.delivery.mailbox import PASSWORD, USER
from tests.delivery.notices import RAISED
from tests.delivery.receivers import KEY, SECRET, TOKEN, is_signed

SMTP = "airflow.providers.smtp.notifications.smtp.SmtpNotifier"


@pytest.fixture
def connect(monkeypatch):
    def add(name, **said):
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(said))
        return name

    return add


def channel(**said):
    return channels_of([ChannelConfig.model_validate(said)], AirflowResolver())[0]


@pytest.mark.parametrize(
    ("extra", "scheme", "port"),
    [
        ({}, "smtps", 465),
        ({"disable_ssl": True}, "smtp", 587),
        ({"disable_ssl": "true", "disable_tls": "false"}, "smtp", 587),
        ({"disable_ssl": True, "disable_tls": True}, "smtp+plain", 25),
    ],
)
def test_a_connection_of_the_smtp_provider_says_how_to_encrypt(connect, extra, scheme, port):
    name = connect(
        "shop_mail", conn_type="smtp", host="127.0.0.1", login=USER, password=PASSWORD, extra=extra
    )
    server = server_of(AirflowResolver().connection(name, "email")[0])
    assert (server.scheme, server.port, server.user, server.password) == (scheme, port, USER, PASSWORD)


def test_e_mail_goes_through_a_connection(connect, mailbox):
    server = mailbox()
    extra = {"disable_ssl": True, "disable_tls": True, "from_email": "alerts@shop.example"}
    connect("shop_mail", conn_type="smtp", host="127.0.0.1", port=server.port, extra=extra)
    send_test([channel(kind="email", to=["anna@shop.example"], connection="shop_mail")]).require_delivered()
    assert server.got[0]["From"] == "alerts@shop.example"


def test_slack_goes_through_a_connection_with_the_address_whole_or_in_two_parts(connect, receiver):
    server = receiver()
    connect("whole", conn_type="slackwebhook", password=server.address)
    base, _, path = server.address.rpartition("/")
    connect("parts", conn_type="slackwebhook", host=base, password=path)
    for name in ("whole", "parts"):
        send_test([channel(kind="slack", connection=name)]).require_delivered()
    assert {one["path"] for one in server.got} == {f"/hooks?token={TOKEN}"}


def test_pagerduty_goes_through_a_connection(connect, receiver):
    server = receiver(202)
    connect("pager", conn_type="pagerduty_events", password="a" * 32)
    send_test([channel(kind="pagerduty", connection="pager", base_url=server.base_url)]).require_delivered()
    assert {one["routing_key"] for one in server.bodies()} == {"a" * 32}


def test_a_signed_webhook_goes_through_a_connection(connect, receiver):
    server = receiver()
    host, port = server.base_url.removeprefix("http://").split(":")
    connect("hook", conn_type="http", host=f"{host}/x", schema="http", port=int(port), password=SECRET)
    assert AirflowResolver().connection("hook", "webhook") == (f"{server.base_url}/x", SECRET)
    connect("hook", conn_type="http", host=server.address, password=SECRET)
    send_test([channel(kind="webhook", connection="hook")]).require_delivered()
    assert is_signed(server.got[0]["headers"], server.got[0]["body"], [KEY])


def test_a_connection_that_is_missing_or_empty_is_told(connect):
    assert "there is no Airflow connection nowhere" in channel(kind="slack", connection="nowhere").problem
    connect("empty", conn_type="smtp")
    said = {"kind": "email", "to": ["anna@shop.example"], "connection": "empty"}
    assert "has neither a host nor a password" in channel(**said).problem


def test_alerts_go_through_the_notifiers_of_airflow(connect, mailbox):
    server = mailbox()
    extra = {"disable_ssl": True, "disable_tls": True}
    connect("smtp_default", conn_type="smtp", host="127.0.0.1", port=server.port, extra=extra)
    arguments = {
        "to": "anna@shop.example",
        "from_email": "alerts@shop.example",
        "subject": "{{ notice.line }}",
        "html_content": "<p>{{ notice.body }}</p>",
    }
    found = channel(kind="airflow", notifier=SMTP, arguments=arguments)
    for _ in range(2):
        assert found.send(RAISED).problem == ""
    assert [one["Subject"] for one in server.got] == [RAISED.line] * 2
    server.stop()
    sent = found.send(RAISED)
    assert sent.problem == "the notifier failed (ConnectionRefusedError): see the log of this task"


@pytest.mark.parametrize(
    ("notifier", "arguments", "why"),
    [
        ("nowhere.Notifier", {}, "install its provider"),
        ("airflow.providers.smtp.notifications.smtp.Nothing", {}, "there is no notifier"),
        ("os.path.join", {}, "is no notifier of Airflow"),
        ("subprocess.Popen", {"args": "true"}, "is no notifier of Airflow"),
        (SMTP, {"nobody": 1}, "does not take its arguments"),
    ],
)
def test_a_wrong_notifier_is_told(notifier, arguments, why):
    assert why in channel(kind="airflow", notifier=notifier, arguments=arguments).problem


def test_a_notifier_holds_back_no_other_channel():
    configs = [
        ChannelConfig(kind="airflow", notifier=SMTP, arguments={"to": "x"}),
        ChannelConfig(kind="email", to=["anna@shop.example"]),
    ]
    assert [one.name for one in channels_of(configs, AirflowResolver())] == ["email", "airflow"]


def test_the_resolver_reads_variables_too(monkeypatch):
    monkeypatch.setenv("LASTAISLE_ALERT_X", "x")
    assert AirflowResolver().variable("LASTAISLE_ALERT_X") == "x"
    with pytest.raises(ChannelError):
        AirflowResolver().variable("LASTAISLE_ALERT_Y")
