"""Ingest the changes of a catalogue from Kafka topics, each message exactly once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa

from lastaisle.catalogue.batch import CatalogueBatch, take_in_items
from lastaisle.catalogue.job import CatalogueJob
from lastaisle.catalogue.report import CatalogueBatchReport, CatalogueReport
from lastaisle.ingest.job import Batch
from lastaisle.ingest.kafka.drain import Drain, drain
from lastaisle.ingest.kafka.payloads import Decoder
from lastaisle.ingest.options import Progress
from lastaisle.kafka.connection import KafkaConnection
from lastaisle.lake.tables import CATALOGUE_BATCHES

if TYPE_CHECKING:
    from confluent_kafka import Message


class ChangesDecoder(Decoder):
    """Turns messages into changes of items; a message without a value removes the item that its key names."""

    def decode_messages(self, messages: Sequence[Message]) -> tuple[pa.StringArray, pa.StringArray]:
        """Return the payload and the reason of each message, as `decode` does."""
        payload, reason = super().decode_messages(messages)
        removals = {
            position: json.dumps({"item_id": key, "removed": True}, ensure_ascii=False)
            for position, message in enumerate(messages)
            if message.value() is None and (key := _key(message))
        }
        if not removals:
            return payload, reason
        lines, reasons = payload.to_pylist(), reason.to_pylist()
        for position, line in removals.items():
            lines[position], reasons[position] = line, None
        return pa.array(lines, pa.string()), pa.array(reasons, pa.string())


def drain_catalogue(
    topics: Sequence[str], job: CatalogueJob, connection: KafkaConnection, *, progress: Progress | None = None
) -> CatalogueReport:
    """Ingest all changes that wait now in some topics.

    Args:
        topics: the names of the topics.
        job: the settings of the ingestion; its content is changes, whatever it says.
        connection: how to reach the cluster.
        progress: called with the ingested share of the waiting messages.

    Raises:
        KafkaSourceError: the cluster cannot be reached, or a topic does not exist.
        LastaisleError: see `take_in_items`.
    """
    report = CatalogueReport()
    settings = Drain(
        connection,
        replace(job, content="changes"),
        ChangesDecoder(job.contract.version),
        take_in=_take_in_range,
        batches=CATALOGUE_BATCHES,
    )
    drain(topics, settings, progress=progress, report=report)
    return report


def _take_in_range(
    lines: Iterable[pa.RecordBatch],
    batch: Batch,
    job: CatalogueJob,
    before_commit: Callable[[], object] | None = None,
) -> CatalogueBatchReport:
    return take_in_items(lines, CatalogueBatch(**vars(batch)), job, before_commit)


def _key(message: Message) -> str:
    """Return the key of a message as text; empty if it has none, or if the key is no UTF-8."""
    key = message.key()
    return key.decode("utf-8", "ignore") if isinstance(key, bytes) else key or ""
