"""What a task does, run in a process of its own that stops at a boundary and waits for what befalls it."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import sys
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Protocol

from data_contracts.contract import load_contract
from lastaisle.ingest.job import Ingestion
from lastaisle.ingest.kafka.avro import AvroSchemas
from lastaisle.ingest.kafka.drain import Drain, drain
from lastaisle.ingest.kafka.payloads import Decoder
from lastaisle.ingest.options import IngestOptions
from lastaisle.ingest.run import ingest
from lastaisle.ingest.sources import adapter
from lastaisle.kafka.connection import KafkaConnection
from lastaisle.lake import Lake
from lastaisle.lake.maintenance import maintain, tables_of
from lastaisle.privacy.anonymize import anonymize_shard
from lastaisle.privacy.keys import PseudonymKeys
from tests.faults.boundaries import Hold
from tests.services.required import starts_service

BATCH_ROWS = 60
SHARDS = 2
SECONDS = 240
RAW, EVENTS = load_contract("raw_events"), load_contract("events")
_NOBODY = 65534

# The interpreter that is forked for each task has imported everything and used nothing: no threads.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__, "deltalake", "duckdb", "pyarrow.dataset", "confluent_kafka.admin"])


class Work(Protocol):
    """Something that is done once however often it is tried."""

    def run(self) -> None:
        """Do it, or what is left of it."""


@dataclass(frozen=True)
class DrainTopics:
    """Take in what waits in topics, up to events."""

    lake: str
    keys: PseudonymKeys
    config: dict[str, str]
    topics: tuple[str, ...]
    schemas: str | None = None
    options: IngestOptions = field(
        default_factory=lambda: IngestOptions(gx_sample_rows=0, batch_rows=BATCH_ROWS)
    )

    def run(self) -> None:
        """Do it, or what is left of it."""
        job = Ingestion(Lake(self.lake), adapter("canonical"), RAW, self.options, self.keys, EVENTS)
        decoder = Decoder(RAW.version, AvroSchemas(self.schemas))
        drain(self.topics, Drain(KafkaConnection(self.config), job, decoder))


@dataclass(frozen=True)
class IngestFiles:
    """Take in all files of a folder, up to events."""

    lake: str
    keys: PseudonymKeys
    source: str
    format: str = "canonical"
    options: IngestOptions = field(
        default_factory=lambda: IngestOptions(gx_sample_rows=0, batch_rows=BATCH_ROWS)
    )

    def run(self) -> None:
        """Do it, or what is left of it."""
        report = ingest(
            self.source,
            self.format,
            Lake(self.lake),
            self.keys,
            contract=RAW,
            events_contract=EVENTS,
            options=self.options,
        )
        if report.files_failed:
            raise RuntimeError(f"files failed: {report.files_failed}")


@dataclass(frozen=True)
class AnonymizeShards:
    """Bring all shards of what waits in raw_events into events."""

    lake: str
    keys: PseudonymKeys

    def run(self) -> None:
        """Do it, or what is left of it."""
        for shard in range(SHARDS):
            anonymize_shard(shard, Lake(self.lake), self.keys, contract=RAW, events_contract=EVENTS)


@dataclass(frozen=True)
class MaintainTables:
    """Compact all tables, and clean up behind them."""

    lake: str

    def run(self) -> None:
        """Do it, or what is left of it."""
        lake = Lake(self.lake)
        for name in tables_of(lake):
            maintain(lake, name)


class Task:
    """A process that does some work and, if told so, holds at a boundary until it is let go.

    Args:
        work: what it does.
        log: where its errors go.
        boundary: where it holds; nowhere by default.
        turn: at which time it comes there.
        unprivileged: whether it gives up being root first.
    """

    def __init__(
        self, work: Work, log: Path, boundary: str = "", turn: int = 1, *, unprivileged: bool = False
    ) -> None:
        starts_service("a process to kill")
        self.log = log
        self._ours, theirs = _CONTEXT.Pipe()
        self.process: ForkServerProcess = _CONTEXT.Process(
            target=_run, args=(work, str(log), boundary, turn, unprivileged, theirs)
        )
        self.process.start()
        theirs.close()

    def await_hold(self) -> None:
        """Wait until it holds."""
        if not self._ours.poll(SECONDS):
            self.kill()
            raise AssertionError(f"the task reached no hold in {SECONDS} s: {self.said()}")
        try:
            self._ours.recv()
        except EOFError:
            raise AssertionError(f"the task ended before its hold: {self.said()}") from None

    def go(self) -> None:
        """Let it go on."""
        self._ours.send(None)

    def kill(self) -> None:
        """End it as the kernel does when memory is short (SIGKILL)."""
        self.process.kill()
        self.join()

    def join(self, seconds: float = SECONDS) -> int:
        """Wait for its end and return its exit code; if there is none, say where it is."""
        self.process.join(seconds)
        if self.process.exitcode is None:
            os.kill(self.process.pid or 0, signal.SIGUSR1)
            self.process.join(1)
            self.process.kill()
            raise AssertionError(f"the task did not end in {seconds} s: {self.said()}")
        return self.process.exitcode

    def said(self) -> str:
        """Return the end of its errors."""
        return self.log.read_text(errors="replace")[-3000:] if self.log.exists() else "(nothing)"


def _run(work: Work, log: str, boundary: str, turn: int, unprivileged: bool, gate: Connection) -> None:
    with Path(log).open("a") as stream:
        os.dup2(stream.fileno(), 2)
    faulthandler.register(signal.SIGUSR1, file=2, all_threads=True)
    sys.stderr = os.fdopen(2, "w", closefd=False)
    if unprivileged and os.geteuid() == 0:
        os.setgroups([])
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)

    def hold() -> None:
        gate.send(None)
        gate.recv()

    if boundary:
        Hold(boundary, turn, hold).install()
    work.run()
