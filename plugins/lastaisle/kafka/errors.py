"""The errors of a Kafka source."""

from __future__ import annotations

from lastaisle.errors import SourceError


class KafkaSourceError(SourceError):
    """Brokers that cannot be reached, a missing topic, a refused login, a stalled read."""


class OffsetsWentBackError(KafkaSourceError):
    """A partition that ends before what was already ingested from it: its newest messages were lost."""
