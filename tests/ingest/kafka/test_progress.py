"""The tables alone say what comes next, whatever died between two commits."""

from __future__ import annotations

import json
import random

import pyarrow as pa
import pytest
from deltalake import CommitProperties, Transaction, write_deltalake

from lastaisle.ingest.kafka.client import read_range
from lastaisle.ingest.kafka.progress import committed_offsets, plan_run
from lastaisle.lake import Lake
from tests.services.kafka import make_topic

TABLES = ("quarantine", "raw_events", "batches")


class KilledError(Exception):
    pass


def ingest(lake, connection, span, kill_before: str | None = None) -> None:
    """Commit a range as a batch is: quarantine with its end, raw_events, batches with how far it came."""
    rows = pa.Table.from_batches(read_range(connection, span)).select(["source_row", "payload"])
    tokens = {
        "quarantine": {span.key: span.end},
        "raw_events": {f"{span.batch_id}-rows": 1},
        "batches": {span.app_id: span.end},
    }
    for name in TABLES:
        if name == kill_before:
            raise KilledError
        key, version = next(iter(tokens[name].items()))
        table = lake.table(name)
        known = None if table is None else table.transaction_version(key)
        if known == version:
            continue
        properties = CommitProperties(app_transactions=[Transaction(key, version)])
        part = rows if name == "raw_events" else rows.slice(0, 0)
        write_deltalake(lake.table_url(name), part, mode="append", commit_properties=properties)


def test_a_batch_killed_between_any_two_commits_is_planned_again_as_it_was(topic, send, connection, tmp_path):
    lake = Lake(tmp_path / "lake")
    send(topic, [b"{}"] * 100)
    (span,) = plan_run(connection, [topic], lake).ranges
    for boundary in TABLES:
        with pytest.raises(KilledError):
            ingest(lake, connection, span, kill_before=boundary)
        send(topic, [b"{}"] * 50)
        again = plan_run(connection, [topic], lake, batch_rows=1000).ranges
        if boundary == "quarantine":  # nothing was begun, so that the plan may grow
            assert (again[0].start, again[0].end) == (0, 150)
        else:
            assert again[0] == span
            assert again[1].start == span.end
    ingest(lake, connection, span)
    planned = plan_run(connection, [topic], lake)
    assert [(one.start, one.end) for one in planned.ranges] == [(100, 250)]
    assert list(planned.lag.values()) == [150]


def test_killed_at_random_every_offset_is_ingested_exactly_once(broker, send, connection, tmp_path):
    topic = make_topic(broker, partitions=3)
    lake = Lake(tmp_path / "lake")
    chance = random.Random(7)
    sent = 0
    for _ in range(40):
        if sent < 300:
            send(topic, [json.dumps({"n": number}) for number in range(sent, sent + 20)], partition=sent % 3)
            sent += 20
        planned = plan_run(connection, [topic], lake, max_rows=60, batch_rows=15)
        try:
            for chain in planned.by_partition():
                for span in chain:
                    ingest(lake, connection, span, chance.choice([*TABLES, None, None, None, None]))
        except KilledError:
            continue
        if sent >= 300 and planned.left == 0:
            break
    assert plan_run(connection, [topic], lake).ranges == ()
    payloads = lake.scan("raw_events")["payload"].to_pylist()
    assert len(payloads) == 300
    assert set(payloads) == {json.dumps({"n": number}) for number in range(300)}


def test_an_empty_lake_has_committed_nothing(tmp_path):
    assert committed_offsets(Lake(tmp_path), []) == {}
