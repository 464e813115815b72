"""Kafka's settings come from an Airflow connection's extra."""

import json

import pytest

from lastaisle.errors import SourceError
from lastaisle_airflow.runtime.kafka import kafka_connection


def test_the_extra_of_an_airflow_connection_holds_the_settings(monkeypatch):
    extra = {"bootstrap.servers": "shop:9092", "sasl.password": "secret", "error_cb": "a.b.c"}
    monkeypatch.setenv("AIRFLOW_CONN_SHOP_KAFKA", json.dumps({"conn_type": "kafka", "extra": extra}))
    connection = kafka_connection("shop_kafka")
    assert connection.servers == "shop:9092"
    assert "secret" not in repr(connection)


def test_without_an_airflow_connection_the_environment_serves(monkeypatch):
    monkeypatch.delenv("LASTAISLE_KAFKA", raising=False)
    with pytest.raises(SourceError, match="no Airflow connection 'nowhere'"):
        kafka_connection("nowhere")
    monkeypatch.setenv("LASTAISLE_KAFKA", json.dumps({"bootstrap.servers": "other:9092"}))
    assert kafka_connection("nowhere").servers == "other:9092"
