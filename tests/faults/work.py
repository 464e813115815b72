"""The work of a task, in a process of its own that stops at a boundary and waits for a fault."""

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
from lastaisle.ingest.kafka.drain import Drain, drain
from lastaisle.ingest.kafka.payloads import Decoder
from lastaisle.ingest.kafka.schemas import Schemas
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

# Each task is forked from an interpreter that has imported all modules and used none, so it has no threads.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__, "deltalake", "duckdb", "pyarrow.dataset", "confluent_kafka.admin"])


class Work(Protocol):
    """Work that takes effect once, however often it runs."""

    def run(self) -> None:
        """Do the work, or its remaining part."""


@dataclass(frozen=True)
class DrainTopics:
    """Take in the messages that wait in topics, and anonymize them into events."""

    lake: str
    keys: PseudonymKeys
    config: dict[str, str]
    topics: tuple[str, ...]
    schemas: str | None = None
    options: IngestOptions = field(
        default_factory=lambda: IngestOptions(gx_sample_rows=0, batch_rows=BATCH_ROWS)
    )

    def run(self) -> None:
        """Do the work, or its remaining part."""
        job = Ingestion(Lake(self.lake), adapter("canonical"), RAW, self.options, self.keys, EVENTS)
        decoder = Decoder(RAW.version, Schemas(self.schemas))
        drain(self.topics, Drain(KafkaConnection(self.config), job, decoder))


@dataclass(frozen=True)
class IngestFiles:
    """Take in all files of a folder, and anonymize them into events."""

    lake: str
    keys: PseudonymKeys
    source: str
    format: str = "canonical"
    options: IngestOptions = field(
        default_factory=lambda: IngestOptions(gx_sample_rows=0, batch_rows=BATCH_ROWS)
    )

    def run(self) -> None:
        """Do the work, or its remaining part."""
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
    """Anonymize all shards of the raw events that wait."""

    lake: str
    keys: PseudonymKeys

    def run(self) -> None:
        """Do the work, or its remaining part."""
        for shard in range(SHARDS):
            anonymize_shard(shard, Lake(self.lake), self.keys, contract=RAW, events_contract=EVENTS)


@dataclass(frozen=True)
class MaintainTables:
    """Compact all tables, and delete their old files."""

    lake: str

    def run(self) -> None:
        """Do the work, or its remaining part."""
        lake = Lake(self.lake)
        for name in tables_of(lake):
            maintain(lake, name)


class Task:
    """A process that does some work; with a boundary, it holds there until it is released.

    Args:
        work: the work.
        log: file for errors.
        boundary: boundary at which the process holds; by default it does not hold.
        turn: number of the arrival at which it holds, from 1.
        unprivileged: whether the process gives up root's rights first.
    """

    def __init__(
        self, work: Work, log: Path, boundary: str = "", turn: int = 1, *, unprivileged: bool = False
    ) -> None:
        starts_service("a process to kill")
        self.log = log
        self._gate, process_gate = _CONTEXT.Pipe()
        self.process: ForkServerProcess = _CONTEXT.Process(
            target=_run, args=(work, str(log), boundary, turn, unprivileged, process_gate)
        )
        self.process.start()
        process_gate.close()

    def await_hold(self) -> None:
        """Wait until the process holds."""
        if not self._gate.poll(SECONDS):
            self.kill()
            raise AssertionError(f"the task reached no hold in {SECONDS} s: {self.error_tail()}")
        try:
            self._gate.recv()
        except EOFError:
            raise AssertionError(f"the task ended before its hold: {self.error_tail()}") from None

    def release(self) -> None:
        """Release the process from its hold."""
        self._gate.send(None)

    def kill(self) -> None:
        """Kill the process (SIGKILL), as the kernel does when memory is short."""
        self.process.kill()
        self.join()

    def join(self, seconds: float = SECONDS) -> int:
        """Wait for the end of the process, and return its exit code; if it does not end, show where it is."""
        self.process.join(seconds)
        if self.process.exitcode is None:
            os.kill(self.process.pid or 0, signal.SIGUSR1)
            self.process.join(1)
            self.process.kill()
            raise AssertionError(f"the task did not end in {seconds} s: {self.error_tail()}")
        return self.process.exitcode

    def error_tail(self) -> str:
        """Return the end of the error log."""
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
