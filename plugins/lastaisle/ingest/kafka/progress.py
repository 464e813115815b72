"""The ingested offsets of each partition; the Delta commits of the rows hold them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from lastaisle.ingest.kafka.client import watermarks
from lastaisle.ingest.kafka.ranges import Plan, Watermarks, first_key, plan, range_key
from lastaisle.kafka.connection import KafkaConnection
from lastaisle.lake import Lake
from lastaisle.lake.tables import BATCHES, CATALOGUE_BATCHES, QUARANTINE


def committed_offsets(lake: Lake, marks: Iterable[Watermarks], *, batches: str = BATCHES) -> dict[str, int]:
    """Return, by app_id, the offset after the last ingested offset of each partition.

    It is the transaction version that the last commit of the table of the batches wrote under the app_id.
    """
    return _versions(lake, batches, [partition.app_id for partition in marks])


def started_batches(lake: Lake, marks: Iterable[Watermarks], committed: Mapping[str, int]) -> dict[str, int]:
    """Return, by the key of a range, the planned end of each batch that was begun and not finished.

    A batch begins with its commit of quarantine, which writes the planned end under the key of the range. The
    first batch of a partition also writes its start: the brokers may have deleted that offset since.
    """
    app_ids = [partition.app_id for partition in marks if partition.app_id not in committed]
    firsts = _versions(lake, QUARANTINE, map(first_key, app_ids))
    starts = {
        partition.app_id: committed.get(
            partition.app_id, firsts.get(first_key(partition.app_id), partition.low)
        )
        for partition in marks
    }
    keys = [range_key(app_id, start) for app_id, start in starts.items()]
    return _versions(lake, QUARANTINE, keys)


def use_of(batches: str) -> str:
    """Return the use of the partitions whose batches a table holds; see `Partition`.

    Older lakes hold the offsets of events and of the catalogue without a use.
    """
    return "" if batches in (BATCHES, CATALOGUE_BATCHES) else batches


def plan_run(
    connection: KafkaConnection,
    topics: Sequence[str],
    lake: Lake,
    *,
    max_rows: int = 5_000_000,
    batch_rows: int = 1_000_000,
    batches: str = BATCHES,
) -> Plan:
    """Plan the ranges of one run, from the offsets of the brokers and of the tables.

    Args:
        connection: how to reach the cluster.
        topics: the topics.
        lake: holds the tables.
        max_rows: the most offsets of the run.
        batch_rows: the most offsets of a batch.
        batches: the table of the batches.

    Raises:
        KafkaSourceError: the cluster cannot be reached, or a topic does not exist.
        OffsetsWentBackError: a partition ends before the last ingested offset.
    """
    marks = [replace(found, use=use_of(batches)) for found in watermarks(connection, topics)]
    committed = committed_offsets(lake, marks, batches=batches)
    started = started_batches(lake, marks, committed)
    return plan(marks, committed, started, max_rows=max_rows, batch_rows=batch_rows)


def _versions(lake: Lake, name: str, app_ids: Iterable[str]) -> dict[str, int]:
    table = lake.table(name)
    if table is None:
        return {}
    versions = {app_id: table.transaction_version(app_id) for app_id in app_ids}
    return {app_id: int(version) for app_id, version in versions.items() if version is not None}
