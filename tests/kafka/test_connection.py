"""Settings reach librdkafka as given, secrets stay unseen, and a refused login says so."""

from __future__ import annotations

import json

import pytest

from lastaisle.ingest.kafka.client import read_range, watermarks
from lastaisle.ingest.kafka.dead_letters import send_dead_letters
from lastaisle.ingest.kafka.ranges import plan
from lastaisle.kafka.connection import KafkaConnection
from lastaisle.kafka.errors import KafkaSourceError


def test_tls_and_login_serve_every_kind_of_client(broker, topic, send):
    send(topic, [b"{}", b"\xff"])
    connection = KafkaConnection(broker.secure)
    (span,) = plan(watermarks(connection, [topic]), {}).ranges
    reading = read_range(connection, span)
    assert [row["reason"] for batch in reading for row in batch.to_pylist()] == [None, "not_utf8"]
    assert send_dead_letters(connection, span, {1: "not_utf8"}).sent == 1


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"sasl.password": "wrong"}, "(?i)authentication failed"),
        ({"ssl.ca.location": None}, "(?i)ssl|certificate"),
        ({"sasl.mechanism": "PLAIN"}, "(?i)mechanism"),
    ],
)
def test_a_refused_login_says_why_and_shows_no_secret(broker, topic, change, told):
    config = {key: value for key, value in (broker.secure | change).items() if value is not None}
    with pytest.raises(KafkaSourceError, match=told) as caught:
        watermarks(KafkaConnection(config), [topic], timeout=4)
    assert config["sasl.password"] not in str(caught.value)


def test_a_read_with_a_refused_login_does_not_wait_for_the_stall(broker, topic, send, connection):
    send(topic, [b"{}"])
    (span,) = plan(watermarks(connection, [topic]), {}).ranges
    refused = KafkaConnection(broker.secure | {"sasl.password": "wrong"})
    with pytest.raises(KafkaSourceError, match=r"(?i)authentication failed"):
        list(read_range(refused, span, stall_seconds=100_000))  # waiting would meet the time limit


def test_a_connection_shows_where_to_and_nothing_secret(broker):
    connection = KafkaConnection(broker.secure | {"ssl.key.pem": "-----BEGIN PRIVATE", "sasl.jaas": "secret"})
    shown = f"{connection!r} {connection}"
    assert connection.servers in shown
    assert "SASL_SSL" in shown
    for secret in (broker.secure["sasl.password"], broker.secure["sasl.username"], "PRIVATE", "secret"):
        assert secret not in shown


def test_settings_that_would_skip_or_hide_messages_are_overruled(topic, send, broker):
    send(topic, [b"{}"] * 3)
    unsafe = {
        "enable.auto.commit": True,
        "auto.offset.reset": "latest",
        "isolation.level": "read_uncommitted",
    }
    connection = KafkaConnection(broker.config | unsafe | {"group.id": "shop", "fetch.min.bytes": 1})
    (span,) = plan(watermarks(connection, [topic]), {}).ranges
    assert sum(map(len, read_range(connection, span))) == 3
    admin = connection.admin()  # a client that is let go of takes its answers along
    groups = admin.list_consumer_groups().result(30).valid
    assert "shop" not in {group.group_id for group in groups}


def test_the_environment_may_hold_the_settings():
    given = {"bootstrap.servers": "a:9092,b:9092", "enable.ssl.certificate.verification": False}
    connection = KafkaConnection.from_env({"LASTAISLE_KAFKA": json.dumps(given)})
    assert connection.servers == "a:9092,b:9092"


@pytest.mark.parametrize("text", ["", "{secret", '["secret"]', '{"sasl.password": "secret"}'])
def test_useless_settings_are_refused_without_showing_them(text):
    with pytest.raises(KafkaSourceError, match=r"LASTAISLE_KAFKA|bootstrap\.servers") as caught:
        KafkaConnection.from_env({"LASTAISLE_KAFKA": text})
    assert "secret" not in str(caught.value)


def test_a_setting_that_librdkafka_does_not_know_is_named(topic):
    with pytest.raises(KafkaSourceError, match=r"no\.such\.setting"):
        watermarks(KafkaConnection({"bootstrap.servers": "127.0.0.1:1", "no.such.setting": "1"}), [topic])
