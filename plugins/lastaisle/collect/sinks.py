"""Choose the sink of an address."""

from __future__ import annotations

from lastaisle.collect.folder import FolderOptions, FolderSink
from lastaisle.collect.kafka import KafkaSink
from lastaisle.collect.landing import SEGMENT
from lastaisle.collect.sink import Sink


def sink_of(address: str, content: str = SEGMENT, options: FolderOptions | None = None) -> Sink:
    """Return the sink of an address: a Kafka topic, or a landing folder.

    Args:
        address: kafka://cluster/topic, or a folder.
        content: the first word of the names of files in a folder.
        options: options of writing a folder; default `FolderOptions()`.

    Raises:
        SettingsError: the address names neither a topic nor a folder.
        KafkaSourceError: LASTAISLE_KAFKA holds no connection.
    """
    if address.startswith("kafka://"):
        return KafkaSink.at(address)
    return FolderSink(address, options, content)
