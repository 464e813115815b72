"""Addresses of Kafka topics: kafka://<connection>/<topic>[,<topic>...]."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lastaisle.kafka.errors import KafkaSourceError

SCHEME = "kafka://"
_TOPIC = re.compile(r"[a-zA-Z0-9._-]{1,249}")


@dataclass(frozen=True)
class KafkaSource:
    """Topics of one cluster.

    Attributes:
        name: name of the connection; in Airflow, the connection's id.
        topics: the topics in their order in the address, without repetitions.
    """

    name: str
    topics: tuple[str, ...]

    def __str__(self) -> str:
        return f"{SCHEME}{self.name}/{','.join(self.topics)}"


def is_kafka(source: str) -> bool:
    """Tell whether a source is an address of Kafka topics."""
    return source.startswith(SCHEME)


def parse_source(address: str) -> KafkaSource:
    """Read an address such as kafka://shop/clicks,orders.

    Raises:
        KafkaSourceError: the address has no connection, no topic, or a topic that Kafka would refuse.
    """
    name, slash, rest = address.removeprefix(SCHEME).partition("/")
    topics = tuple(dict.fromkeys(topic.strip() for topic in rest.split(",")))
    if not is_kafka(address) or not name or not slash or not all(_TOPIC.fullmatch(topic) for topic in topics):
        raise KafkaSourceError(
            f"a Kafka source is kafka://<connection>/<topic>[,<topic>...], received {address!r};"
            " a topic has at most 249 letters, digits, dots, underscores and hyphens"
        )
    return KafkaSource(name, topics)
