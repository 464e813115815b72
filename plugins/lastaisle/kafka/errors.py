"""The errors of a Kafka source."""

from __future__ import annotations

from lastaisle.errors import SourceError


class KafkaSourceError(SourceError):
    """The brokers cannot be reached, a topic is missing, a login is refused, or a read stalls."""


class OffsetsWentBackError(KafkaSourceError):
    """A partition ends before the offset up to which it was ingested: its newest messages were lost."""
