"""Exposures from Kafka topics, each message exactly once, beside the events of the same topic."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from data_contracts.contract import load_contract
from lastaisle.feedback.exposures.topic import drain_exposures, exposure_drain
from lastaisle.ingest.job import Ingestion
from lastaisle.ingest.kafka.drain import Drain, drain, ingest_range, plan_topics
from lastaisle.ingest.kafka.payloads import Decoder
from lastaisle.ingest.sources import adapter
from lastaisle.lake import Lake
from lastaisle.lake.tables import EXPOSURE_BATCHES

from .conftest import NOW, feedback

pytestmark = pytest.mark.service
OURS = f"7-m-{'a' * 24}"


def lines(*rows):
    return [json.dumps(one) if isinstance(one, dict) else one for one in rows]


def call(number):
    products = [{"product_id": f"i{number}"}, {"product_id": "i0"}]
    return {
        "type": "track",
        "event": "Product List Viewed",
        "messageId": f"m{number}",
        "userId": "anna",
        "timestamp": "2025-10-09T12:00:00Z",
        "properties": {"products": products, "recommendation_id": OURS, "session_id": "visit"},
    }


def events_of(shown, connection, form="segment"):
    contracts = {name: load_contract(name) for name in ("raw_events", "events")}
    job = Ingestion(
        shown.lake,
        adapter(form),
        contracts["raw_events"],
        shown.options,
        shown.keys,
        contracts["events"],
        NOW,
    )
    return Drain(connection, job, Decoder(contracts["raw_events"].version))


def test_messages_are_taken_in_once(shown, connection, topic, send):
    send(topic, lines(feedback(1), feedback(2, position=None), feedback(1), b"{"))
    job = shown.job(options=replace(shown.options, batch_rows=3))
    report = drain_exposures([topic], job, connection)
    counts = (report.rows_in, report.rows_clean, report.rows_quarantined, report.rows_duplicate)
    assert counts == (4, 1, 2, 1)
    assert report.rows_shown == 1
    assert drain_exposures([topic], job, connection).rows_in == 0
    send(topic, lines(feedback(3)))
    assert drain_exposures([topic], job, connection).rows_clean == 1


@pytest.mark.parametrize("first", ["events", "exposures"])
def test_one_topic_is_read_for_events_and_for_exposures(shown, connection, topic, send, first):
    """The offsets, the begun batches and the broken rows of both uses do not meet."""
    send(topic, lines(call(1), call(2), b"{"))
    uses = {
        "events": lambda: drain([topic], events_of(shown, connection)),
        "exposures": lambda: drain_exposures([topic], shown.job("segment"), connection),
    }
    order = [first, *(name for name in uses if name != first)]
    reports = {name: uses[name]() for name in order}
    assert (reports["events"].rows_clean, reports["events"].rows_quarantined) == (2, 1)
    assert (reports["exposures"].rows_clean, reports["exposures"].rows_quarantined) == (4, 1)
    assert {name: uses[name]().rows_in for name in order} == {"events": 0, "exposures": 0}
    send(topic, lines(call(3)))
    assert {name: uses[name]().rows_clean for name in order} == {"events": 1, "exposures": 2}
    assert len(shown.rows("quarantine")) == 2
    pairs = {(one["user_id"], one["session_id"]) for one in shown.rows()}
    assert pairs == {(one["user_id"], one["session_id"]) for one in shown.rows("events")}


@pytest.mark.parametrize("kill_before", ["quarantine", "exposures", "exposure_batches"])
def test_a_killed_run_goes_on_without_loss_and_without_doubles(
    shown, connection, topic, send, monkeypatch, kill_before
):
    def die(lake, name, *given, **named):
        if name == kill_before:
            raise KeyboardInterrupt
        return append(lake, name, *given, **named)

    append = Lake.append
    send(topic, lines(feedback(1), feedback(2), feedback(3, position=None)))
    monkeypatch.setattr(Lake, "append", die)
    with pytest.raises(KeyboardInterrupt):
        drain_exposures([topic], shown.job(), connection)
    monkeypatch.undo()
    send(topic, lines(feedback(4), feedback(1)))
    report = drain_exposures([topic], shown.job(), connection)
    assert (report.rows_in, report.rows_duplicate) == (5, 1)
    assert [one["item_id"] for one in shown.rows()] == ["item-1", "item-2", "item-4"]
    assert len(shown.rows("quarantine")) == 1


def test_a_planned_range_is_taken_in_once_by_two_runs(shown, connection, topic, send):
    send(topic, lines(*(feedback(number) for number in range(1, 6))))
    plan = plan_topics(connection, [topic], shown.lake, batch_rows=3, batches=EXPOSURE_BATCHES)
    settings = exposure_drain(shown.job(), connection)
    assert [span.use for span in plan.ranges] == [EXPOSURE_BATCHES] * 2
    for _ in range(2):
        for span in plan.ranges:
            ingest_range(span, settings)
    assert len(shown.rows()) == 5
    assert len(shown.rows("exposure_batches")) == 2
