"""Read the settings of a Kafka cluster from an Airflow connection."""

from __future__ import annotations

import os

from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowNotFoundException

from lastaisle.kafka.connection import VARIABLE, KafkaConnection
from lastaisle.kafka.errors import KafkaSourceError


def kafka_connection(name: str) -> KafkaConnection:
    """Return the connection to the cluster of an address kafka://<name>/<topic>.

    The Airflow connection with the id <name> holds librdkafka's settings in its extra, as the Apache Kafka
    provider expects them. If there is no such connection, LASTAISLE_KAFKA holds the settings.

    Raises:
        KafkaSourceError: there is neither a connection nor LASTAISLE_KAFKA, or bootstrap.servers is missing.
    """
    try:
        extra = Connection.get(name).extra_dejson
    except AirflowNotFoundException as error:
        if VARIABLE in os.environ:
            return KafkaConnection.from_env()
        raise KafkaSourceError(
            f"there is no Airflow connection {name!r}: add one of type kafka whose extra holds librdkafka's"
            f' settings, such as {{"bootstrap.servers": "localhost:9092"}}, or set {VARIABLE}'
        ) from error
    return KafkaConnection({key: value for key, value in extra.items() if not key.endswith("_cb")})
