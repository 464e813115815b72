"""What the tests of reading Kafka share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lastaisle.ingest.kafka.client import RangeRead, read_range, watermarks
from lastaisle.ingest.kafka.payloads import Decoder
from lastaisle.ingest.kafka.ranges import plan


@pytest.fixture
def read_all(connection) -> Callable[..., tuple[list[dict], list[RangeRead]]]:
    """read_all(topic) reads all that a topic holds; gives the rows and the readings."""

    def read(
        topic: str, decoder: Decoder | None = None, **options: Any
    ) -> tuple[list[dict], list[RangeRead]]:
        rows, readings = [], []
        for span in plan(watermarks(connection, [topic]), {}, **options).ranges:
            reading = read_range(connection, span, decoder)
            rows += [row for batch in reading for row in batch.to_pylist()]
            readings.append(reading)
        return rows, readings

    return read
