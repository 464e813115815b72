"""Measure the way from a real broker to clean tables."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ingestion.events import check, lines_sql
from ingestion.measure import alone, collect_stages, import_first, measured, shares, show_rates, show_stages

PARTITIONS = 4
OUTAGE_SECONDS, OUTAGE_RATE = 300, 10_000
CAUGHT_UP_SECONDS = 10  # the lag is gone if fewer events wait than arrive in this time
GIVE_UP_SECONDS = 180
PRODUCE_AT_ONCE = 100_000


def measure_kafka(folder: Path, events: int) -> dict[str, Any]:
    """Measure the drain of a topic, and the recovery from an outage while more events arrive."""
    from tests.services.kafka import Broker, make_topic

    broker = Broker(folder).start()
    try:
        topic = make_topic(broker, partitions=PARTITIONS)
        alone(produce, broker.config, topic, events)
        drained = alone(drain_topic, broker.config, topic, events, folder / "drained")
        topic = make_topic(broker, partitions=PARTITIONS)
        backlog = min(events, OUTAGE_SECONDS * OUTAGE_RATE)
        alone(produce, broker.config, topic, backlog)
        recovery = recover(broker.config, topic, backlog, folder / "recovered")
    finally:
        broker.kill()
    show_rates({"Kafka to clean Delta": drained}, f"{events:,} events in {PARTITIONS} partitions")
    show_stages(drained["stages"])
    table = Table("after seconds", "lag", title=f"{backlog:,} wait, {OUTAGE_RATE:,} more arrive each second")
    for seconds, lag in recovery["rounds"]:
        table.add_row(f"{seconds:,.1f}", f"{lag:,}")
    Console().print(table)
    return {"drain": drained, "outage": recovery}


def produce(config: dict[str, str], topic: str, events: int, first: int = 0, rate: float = 0) -> None:
    """Write events to a topic, as fast as possible or at a rate (events a second)."""
    import duckdb

    from lastaisle.kafka.connection import KafkaConnection

    producer = KafkaConnection(config).producer(defaults={"linger.ms": 20})
    began, at_once = time.perf_counter(), 1_000 if rate else PRODUCE_AT_ONCE
    failed: list[str] = []
    with duckdb.connect() as connection:
        for done in range(0, events, at_once):
            lines = lines_sql(min(at_once, events - done), first + done)
            for partition, line in connection.execute(
                f"SELECT hash(shopper) % {PARTITIONS}, line FROM ({lines})"
            ).fetchall():
                _send(producer, topic, line, partition, failed)
            producer.poll(0)
            if rate:
                time.sleep(max(0.0, began + (done + at_once) / rate - time.perf_counter()))
    if producer.flush(60) or failed:
        raise SystemExit(f"{len(failed)} messages were not delivered: {failed[:1]}")


def _send(producer: Any, topic: str, line: str, partition: int, failed: list[str]) -> None:
    """Hand one message to the producer; wait while its queue is full."""

    def delivered(error: object, _: object) -> None:
        if error:
            failed.append(str(error))

    while True:
        try:
            return producer.produce(topic, line, partition=partition, on_delivery=delivered)
        except BufferError:
            producer.poll(0.1)


def drain_topic(config: dict[str, str], topic: str, events: int, folder: Path) -> dict[str, Any]:
    """Drain a whole topic into clean tables."""
    from lastaisle.ingest.kafka.drain import drain

    imports = import_first()
    stages = collect_stages()
    settings = drain_settings(config, folder)
    began = time.perf_counter()
    report = drain([topic], settings).to_dict()
    seconds = time.perf_counter() - began
    check(report, events)
    return measured(events, seconds) | {"stages": shares(stages, seconds), "import_seconds": imports}


def drain_settings(config: dict[str, str], folder: Path) -> Any:
    """Return the settings of a drain into a lake in the folder."""
    from data_contracts.contract import load_contract
    from lastaisle.ingest.job import Ingestion
    from lastaisle.ingest.kafka.drain import Drain
    from lastaisle.ingest.sources import adapter
    from lastaisle.kafka.connection import KafkaConnection
    from lastaisle.lake import Lake
    from lastaisle.privacy.keys import PseudonymKeys

    keys = PseudonymKeys.load_or_create(folder / "keys.json", environ={})
    job = Ingestion(
        Lake(folder / "lake"),
        adapter("canonical"),
        load_contract("raw_events"),
        keys=keys,
        events_contract=load_contract("events"),
    )
    return Drain(KafkaConnection(config), job)


def recover(config: dict[str, str], topic: str, backlog: int, folder: Path) -> dict[str, Any]:
    """Drain a backlog while more events arrive."""
    traffic = multiprocessing.get_context("spawn").Process(
        target=produce, args=(config, topic, GIVE_UP_SECONDS * 2 * OUTAGE_RATE, backlog, OUTAGE_RATE)
    )
    traffic.start()
    try:
        rounds: list[tuple[float, int]] = alone(catch_up, config, topic, folder)
    finally:
        traffic.terminate()
        traffic.join()
    seconds, lag = rounds[-1]
    gone = lag <= CAUGHT_UP_SECONDS * OUTAGE_RATE
    return {"backlog": backlog, "lag_gone_after_seconds": seconds if gone else None, "rounds": rounds}


def catch_up(config: dict[str, str], topic: str, folder: Path) -> list[tuple[float, int]]:
    """Drain round by round until the lag is gone; return seconds and lag of each round."""
    from lastaisle.ingest.kafka.drain import ingest_range, plan_topics

    settings = drain_settings(config, folder)
    lake, rows = settings.job.lake, settings.job.options.batch_rows
    began, rounds = time.perf_counter(), []
    while True:
        plan = plan_topics(settings.connection, [topic], lake, batch_rows=rows)
        lag = sum(plan.lag.values())
        rounds.append((round(time.perf_counter() - began, 1), lag))
        if lag <= CAUGHT_UP_SECONDS * OUTAGE_RATE or rounds[-1][0] > GIVE_UP_SECONDS:
            return rounds
        for span in plan.ranges:
            ingest_range(span, settings)
