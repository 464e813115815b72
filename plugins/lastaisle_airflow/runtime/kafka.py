"""From an Airflow connection to a Kafka cluster."""

from __future__ import annotations

import os

from lastaisle.kafka.connection import VARIABLE, KafkaConnection
from lastaisle.kafka.errors import KafkaSourceError


def kafka_connection(name: str) -> KafkaConnection:
    """Return how to reach the cluster that an address kafka://<name>/<topic> names.

    The extra of the Airflow connection of that id holds librdkafka's settings, as the Apache Kafka provider
    has them; where there is no such connection, LASTAISLE_KAFKA does.

    Raises:
        KafkaSourceError: there is neither, or bootstrap.servers is missing.
    """
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

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
