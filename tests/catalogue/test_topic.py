"""Changes of a catalogue from a Kafka topic, each exactly once."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from lastaisle.catalogue.formats import catalogue_adapter
from lastaisle.catalogue.job import CatalogueJob
from lastaisle.catalogue.topic import drain_catalogue
from lastaisle.ingest.options import IngestOptions
from lastaisle.lake import Lake

from .conftest import at

pytestmark = pytest.mark.service


@pytest.fixture
def job(feed) -> CatalogueJob:
    return CatalogueJob(
        feed.lake, catalogue_adapter("items"), options=IngestOptions(gx_sample_rows=0, batch_rows=3)
    )


def lines(*rows):
    return [json.dumps(row) if isinstance(row, dict) else row for row in rows]


def test_changes_are_taken_in_once_in_the_order_of_the_topic(feed, job, connection, topic, send):
    send(topic, lines({"item_id": "1", "title": "Lamp", "price": 5}, {"item_id": "2"}))
    send(topic, lines({"item_id": "1", "available": False}, {"item_id": "1", "available": True}, b"{"))
    report = drain_catalogue([topic], job, connection)
    assert (report.rows_in, report.rows_clean, report.rows_quarantined) == (5, 4, 1)
    assert feed.now()["1"] == {"title": "Lamp", "price": 5.0, "available": True}
    assert drain_catalogue([topic], job, connection).rows_in == 0
    send(topic, lines({"item_id": "1", "price": 4}))
    assert drain_catalogue([topic], job, connection).rows_clean == 1
    assert feed.now()["1"]["price"] == 4.0


def test_a_message_without_a_value_removes_the_item_of_its_key(feed, job, connection, topic, send):
    send(topic, lines({"item_id": "1"}, {"item_id": "2"}))
    send(topic, [None], key="1")
    send(topic, [None])
    report = drain_catalogue([topic], job, connection)
    assert set(feed.now()) == {"2"}
    assert report.quarantined_by_rule == {"tombstone": 1}


def test_an_older_message_never_replaces_a_newer_one(feed, job, connection, topic, send):
    send(topic, lines({"item_id": "1", "price": 5, "valid_from": at(2).isoformat()}))
    send(topic, lines({"item_id": "1", "price": 4, "valid_from": at(1).isoformat()}))
    drain_catalogue([topic], job, connection)
    assert feed.now()["1"]["price"] == 5.0
    assert feed.now(at(1))["1"]["price"] == 4.0


@pytest.mark.parametrize("kill_before", ["items", "catalogue_batches"])
def test_a_killed_run_goes_on_without_loss_and_without_doubles(
    feed, job, connection, topic, send, monkeypatch, kill_before
):
    def die(lake, name, *given, **named):
        if name == kill_before:
            raise KeyboardInterrupt
        return append(lake, name, *given, **named)

    append = Lake.append
    send(topic, lines({"item_id": "1", "price": 5}, {"item_id": "1", "price": 6}))
    monkeypatch.setattr(Lake, "append", die)
    with pytest.raises(KeyboardInterrupt):
        drain_catalogue([topic], job, connection)
    monkeypatch.undo()
    send(topic, lines({"item_id": "1", "price": 7}))
    report = drain_catalogue([topic], replace(job, options=IngestOptions(gx_sample_rows=0)), connection)
    assert report.rows_in == 3
    assert [row["price"] for row in feed.history("1")] == [5, 6, 7]
