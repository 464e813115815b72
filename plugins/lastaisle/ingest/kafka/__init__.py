"""Kafka as a source: bounded ranges of offsets, read exactly as planned, never by a consumer group."""
