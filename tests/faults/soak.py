"""Mixed traffic for some time, with random faults; then every row must be accounted for."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lastaisle.ingest.kafka.client import watermarks
from lastaisle.ingest.options import IngestOptions
from lastaisle.kafka.connection import KafkaConnection
from lastaisle.lake import Lake
from tests.faults.reconcile import UnreconciledError, reconcile
from tests.faults.scenarios import KEYS, QUICK
from tests.faults.senders import (
    AVRO,
    AVRO_ID,
    WRITE_KEY,
    CollectorSender,
    FileSender,
    TopicSender,
    Visitors,
    landed,
)
from tests.faults.traffic import Sent
from tests.faults.work import SHARDS, AnonymizeShards, DrainTopics, IngestFiles, MaintainTables, Task, Work
from tests.services.kafka import Broker, make_topic

_PARTITIONS = {"json": 3, "avro": 2}
# Seconds that a pass may take. On a machine too slow for the traffic, the last pass has all remaining work.
_PATIENCE = 3600
_OPTIONS = IngestOptions(gx_sample_rows=0, batch_rows=5_000, shards=SHARDS)


@dataclass
class Soak:
    """All parts of a soak, which run at the same time.

    Attributes:
        folder: folder of all data.
        broker: a running broker.
        seed: seed of the traffic and the faults.
        rate: events per second of all senders together.
        counts: number of occurrences, by name.
        examples: the first error of a task, by kind of error.
    """

    folder: Path
    broker: Broker
    seed: int = 7
    rate: int = 150
    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.lake = Lake(self.folder / "lake")
        self.random = random.Random(self.seed)
        self.sent = Sent()
        self.running: dict[str, Task] = {}
        self.stop = threading.Event()
        self.broken: list[BaseException] = []
        self.config = self.broker.config | QUICK
        self.connection = KafkaConnection(self.config)
        self.topics = {form: (make_topic(self.broker, n), n) for form, n in _PARTITIONS.items()}
        self.names = tuple(topic for topic, _ in self.topics.values())
        for topic in self.names:
            make_topic(self.broker, name=f"{topic}.dead-letters")
        self.collector = Collector(self.folder)
        self.senders = self._senders()

    def _senders(self) -> list[Any]:
        import json

        (cluster,) = {one.cluster for one in watermarks(self.connection, self.names)}
        (self.folder / "schemas").mkdir()
        (self.folder / "schemas" / f"{AVRO_ID}.avsc").write_text(json.dumps(AVRO))
        visitors = {form: Visitors(self.seed, form) for form in self.topics}
        return [
            TopicSender(self.connection, cluster, self.topics, self.sent, visitors),
            FileSender(self.folder / "logs", self.sent, Visitors(self.seed, "file")),
            CollectorSender(self.collector.port, Visitors(self.seed, "call")),
        ]

    @property
    def works(self) -> dict[str, Work]:
        """Return the work that is repeated, by name; the first two of each kind run at the same time."""
        lake, folder = self.lake.url, self.folder
        drain = DrainTopics(lake, KEYS, self.config, self.names, str(folder / "schemas"), _OPTIONS)
        return {
            "drain": drain,
            "drain as well": drain,
            "files": IngestFiles(lake, KEYS, str(folder / "logs"), options=_OPTIONS),
            "landing": IngestFiles(lake, None, str(folder / "landing"), "segment", _OPTIONS),
            "shards": AnonymizeShards(lake, KEYS),
            "shards as well": AnonymizeShards(lake, KEYS),
            "maintain": MaintainTables(lake),
        }

    def run(self, minutes: float) -> dict[str, Any]:
        """Run all parts, finish the remaining work, and account for every row.

        Raises:
            AssertionError: a row was lost or is there twice, or a part of the soak itself broke.
        """
        started = time.monotonic()
        self.collector.start()
        pauses = {"maintain": min(120.0, minutes * 15)}
        loops = [
            self._guarded(self._send, sender, share)
            for sender, share in zip(self.senders, (2, 1, 1), strict=True)
        ]
        loops += [self._guarded(self._work, name, pauses.get(name, 1.0)) for name in self.works]
        loops.append(self._guarded(self._disturb, min(12.0, minutes * 6)))
        for loop in loops:
            loop.start()
        end = started + minutes * 60
        while time.monotonic() < end and not self.broken:
            time.sleep(0.5)
        self.stop.set()
        for loop in loops:
            loop.join()
        if self.broken:
            raise self.broken[0]
        self.finish()
        counts = self.reconcile()
        return {
            "minutes": minutes,
            "seed": self.seed,
            "rows_sent": counts.sent,
            "rows_clean": counts.clean,
            "rows_quarantined": counts.quarantined,
            "rows_duplicate": counts.duplicate,
            "batches": self.lake.scan("batches", ["batch_id"]).num_rows,
            "seconds": round(time.monotonic() - started),
            **dict(sorted(self.counts.items())),
        }

    def finish(self) -> None:
        """Send the messages that were held back, stop the collector, and do the rest without faults."""
        for sender in self.senders:
            sender.close()
        self.collector.stop()
        for work in self.works.values():
            work.run()
        self.works["shards"].run()

    def reconcile(self) -> Any:
        """Account for every row, with every call that the collector acknowledged."""
        ids = landed(self.folder / "landing", self.sent)
        lost = self.senders[-1].acknowledged - ids
        if lost:
            raise UnreconciledError(
                f"{len(lost)} acknowledged calls never landed, such as {sorted(lost)[:5]}"
            )
        ends = {one.app_id: one.end for one in watermarks(self.connection, self.names)}
        return reconcile(self.lake, self.sent.table(), ends)

    def _guarded(self, loop: Callable[..., None], *given: Any) -> threading.Thread:
        def run() -> None:
            try:
                loop(*given)
            except BaseException as error:  # the main thread reports it
                self.broken.append(error)

        return threading.Thread(target=run, name=str(given))

    def _send(self, sender: Any, share: int) -> None:
        pause = 0.5 if share == 2 else 2.0
        while not self.stop.wait(pause):
            sender.send(max(1, int(self.rate * pause / 4)))

    def _work(self, name: str, pause: float) -> None:
        log = self.folder / f"{name}.log"
        while not self.stop.wait(pause):
            log.unlink(missing_ok=True)
            self.running[name] = task = Task(self.works[name], log)
            code = task.join(_PATIENCE)
            self.counts[f"{name.removesuffix(' as well')}: runs"] += 1
            if code == -9:
                self.counts[f"{name.removesuffix(' as well')}: killed"] += 1
            elif code:
                error_tail = task.error_tail().strip()
                kind = error_tail.rpartition("\n")[2].partition(":")[0].rpartition(".")[2]
                self.counts[f"failed: {kind}"] += 1
                self.examples.setdefault(kind, error_tail)

    def _disturb(self, pause: float) -> None:
        while not self.stop.wait(self.random.uniform(0.3, 1.7) * pause):
            kind = self.random.choices(["task", "broker", "collector"], [8, 1, 1])[0]
            if kind == "broker":
                self.broker.kill()
                self.stop.wait(self.random.uniform(0, 5))
                self.broker.start()
                self.counts["broker: killed"] += 1
            elif kind == "collector":
                self.collector.kill()
                self.stop.wait(self.random.uniform(0, 2))
                self.collector.start()
                self.counts["collector: killed"] += 1
            else:
                name = self.random.choice(list(self.running) or [""])
                if name and self.running[name].process.is_alive():
                    self.running[name].process.kill()


class Collector:
    """The collector in a process of its own, which writes to a landing folder.

    Args:
        folder: parent of the landing folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the collector, and wait until it listens."""
        (self.folder / "landing").mkdir(exist_ok=True)
        environ = os.environ | {
            "LASTAISLE_HOME": str(self.folder),
            "LASTAISLE_SEGMENT_WRITE_KEYS": WRITE_KEY,
        }
        to = f"{self.folder}/landing/{{day}}"
        command = [sys.executable, "-m", "lastaisle.cli", "collect", "--to", to, "--port", str(self.port)]
        with (self.folder / "collector.log").open("ab") as log:
            self._process = subprocess.Popen(command, env=environ, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise AssertionError(f"the collector did not start: {log.name}") from None
                time.sleep(0.1)

    def kill(self) -> None:
        """Kill the collector (SIGKILL)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """Stop the collector in order (SIGTERM)."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)
