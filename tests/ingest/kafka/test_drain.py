"""From a real broker to the tables: every message once, whatever it holds."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

import pytest
from confluent_kafka import TopicPartition

from data_contracts.contract import load_contract
from lastaisle.ingest.job import Ingestion
from lastaisle.ingest.kafka.drain import Drain, drain, plan_topics
from lastaisle.ingest.options import IngestOptions
from lastaisle.ingest.sources import adapter
from lastaisle.kafka.connection import KafkaConnection
from lastaisle.lake import Lake
from lastaisle.privacy.erased import mark
from lastaisle.privacy.keys import PseudonymKeys
from tests.services.kafka import make_topic


def event(number: int, **changes) -> bytes:
    given = {
        "event_id": f"event-{number}",
        "event_type": "item_viewed",
        "occurred_at": f"2025-10-09T12:{number // 60 % 60:02d}:{number % 60:02d}Z",
        "user_id": f"user-{number % 7}",
        "item_id": f"item-{number}",
    }
    return json.dumps(given | changes).encode()


def delete_before(connection: KafkaConnection, topic: str, offset: int) -> None:
    place = TopicPartition(topic, 0, offset)
    admin = connection.admin()
    admin.delete_records([place])[place].result(30)


@pytest.fixture
def draining(connection, tmp_path) -> Drain:
    keys = PseudonymKeys.load_or_create(tmp_path / "keys.json", environ={})
    options = IngestOptions(gx_sample_rows=0, batch_rows=50)
    contract = load_contract("raw_events")
    return Drain(
        connection, Ingestion(Lake(tmp_path / "lake"), adapter("canonical"), contract, options, keys)
    )


def test_a_topic_is_drained_once_with_everything_accounted_for(draining, broker, send):
    topic = make_topic(broker, partitions=3)
    for partition in range(3):
        send(topic, [event(100 * partition + n) for n in range(90)], partition=partition)
    send(topic, [event(5), event(900, price=-1), b"{", b"\xff\xfe", None], partition=2)
    report = drain([topic], draining)
    counts = (report.rows_in, report.rows_clean, report.rows_quarantined, report.rows_duplicate)
    assert counts == (275, 270, 4, 1)
    lake = draining.job.lake
    assert len(lake.scan("events")) == len(lake.scan("raw_events")) == 270
    rules = sorted(rule for rules in lake.scan("quarantine")["rules"].to_pylist() for rule in rules)
    assert rules == ["not_json", "not_utf8", "price_in_range", "tombstone"]
    again = drain([topic], draining)
    assert (again.rows_in, plan_topics(draining.connection, [topic], lake).lag) == (
        0,
        dict.fromkeys(plan_topics(draining.connection, [topic], lake).lag, 0),
    )
    letters = drain([f"{topic}.dead-letters"], draining)
    assert letters.rows_in == 2  # a tombstone and bytes that are no text; what rules refuse is in quarantine


def test_rows_name_the_place_of_their_messages(draining, topic, send):
    send(topic, [event(n) for n in range(60)])
    drain([topic], draining)
    rows = draining.job.lake.scan("raw_events").to_pylist()
    assert {row["source_row"]: row["event_id"] for row in rows} == {n: f"event-{n}" for n in range(60)}
    assert {row["source_file"].partition("?")[2] for row in rows} == {"start=0&end=50", "start=50&end=60"}
    offsets = {
        name: {
            draining.job.lake.stamp(name, span)
            for span in plan_topics(draining.connection, [topic], draining.job.lake).lag
        }
        for name in ("raw_events", "batches")
    }
    assert offsets == {"raw_events": {60}, "batches": {60}}


def test_messages_deleted_unread_are_reported_once(draining, topic, send, caplog):
    send(topic, [event(n) for n in range(20)])
    drain([topic], draining)
    send(topic, [event(n) for n in range(20, 60)])
    delete_before(draining.connection, topic, 45)
    with caplog.at_level(logging.ERROR, "lastaisle.alerts"):
        report = drain([topic], draining)
        drain([topic], draining)
    assert report.rows_clean == 15
    (gap,) = draining.job.lake.scan("gaps").to_pylist()
    assert (gap["topic"], gap["start_offset"], gap["end_offset"]) == (topic, 20, 45)
    assert [record.message.count("offsets 20 to 44 (25)") for record in caplog.records] == [1]


@pytest.mark.parametrize("kill_before", ["raw_events", "batches"])
def test_a_first_batch_goes_on_even_if_retention_deleted_its_start(
    draining, topic, send, monkeypatch, kill_before
):
    def die(lake: Lake, name: str, *given: object, **named: object) -> bool:
        if name == kill_before:
            raise KeyboardInterrupt
        return append(lake, name, *given, **named)

    append = Lake.append
    send(topic, [event(n) for n in range(30)])
    with monkeypatch.context() as patch:
        patch.setattr(Lake, "append", die)
        with pytest.raises(KeyboardInterrupt):
            drain([topic], draining)
    delete_before(draining.connection, topic, 10)
    send(topic, [event(n) for n in range(30, 40)])
    report = drain([topic], draining)
    lake = draining.job.lake
    kept = range(10 if kill_before == "raw_events" else 0, 40)
    assert sorted(lake.scan("raw_events")["source_row"].to_pylist()) == list(kept)
    assert sorted(lake.scan("events")["item_id"].to_pylist()) == sorted(f"item-{n}" for n in kept)
    assert (report.rows_clean, report.rows_duplicate) == (len(kept), 0)
    assert [(gap["start_offset"], gap["end_offset"]) for gap in lake.scan("gaps").to_pylist()] == [(0, 10)]


def test_a_batch_waits_if_its_dead_letters_cannot_be_sent(draining, topic, send, monkeypatch):
    from lastaisle.ingest.kafka import drain as module
    from lastaisle.kafka.errors import KafkaSourceError

    def refuse(*_: object) -> None:
        raise KafkaSourceError("no room")

    send(topic, [event(1), b"\xff"])
    with monkeypatch.context() as patch:
        patch.setattr(module, "send_dead_letters", refuse)
        with pytest.raises(KafkaSourceError, match="no room"):
            drain([topic], draining)
    assert draining.job.lake.version("raw_events") is None
    assert drain([topic], draining).rows_in == 2


def test_messages_of_an_erased_shopper_that_come_again_are_ignored(draining, broker, send):
    first, again = make_topic(broker), make_topic(broker)
    messages = [event(number) for number in range(14)]
    send(first, messages)
    assert drain([first], draining).rows_clean == 14
    lake = draining.job.lake
    mark(lake, draining.job.keys, ["user-3"], datetime(2025, 10, 10, tzinfo=UTC), "r1")
    lake.overwrite("raw_events", lake.dataset("raw_events").schema.empty_table(), key="erase all")
    send(again, messages)
    report = drain([again], draining)
    assert (report.rows_in, report.rows_clean, report.ignored_by_reason) == (14, 12, {"erased": 2})
    assert "user-3" not in lake.scan("raw_events")["user_id"].to_pylist()
