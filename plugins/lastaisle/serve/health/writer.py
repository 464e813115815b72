"""Write the counts of this worker to the lake, each exactly once, in a thread of its own."""

from __future__ import annotations

import logging
import random
import secrets
import threading
from pathlib import Path
from typing import Final

import pyarrow as pa
from deltalake.exceptions import DeltaError

from lastaisle.errors import LastaisleError
from lastaisle.lake.lake import Lake
from lastaisle.lake.opening import open_lake
from lastaisle.lake.tables import SERVICE_METRICS
from lastaisle.serve.health.counts import HealthCounts, Rows, add_rows, source_of, table_of
from lastaisle.serve.parts import Maker
from lastaisle.serve.questions import Answer, Asked
from lastaisle.settings import Settings

STOP_SECONDS: Final = 5.0
"""How long the end of the service waits for the last write."""
_FAILURES: Final = (LastaisleError, DeltaError, OSError, ValueError, KeyError, pa.ArrowException)

log = logging.getLogger(__name__)


class HealthWriter:
    """Counts how this worker answers, and keeps the counts in the table `service_metrics`.

    While the lake is away, the counts wait and are tried again. Many rows that wait are merged by hour. A
    write that may have arrived stays as it is, with its number, so that it is never counted twice. A worker
    that is killed loses the counts since its last write. Where there is no lake, none is made, and the counts
    wait.

    Args:
        settings: names the lake, and how often to write; 0 seconds write nothing.
        counts: the counts of this worker.
    """

    def __init__(self, settings: Settings, counts: HealthCounts) -> None:
        self._lake: Lake = open_lake(settings)
        self._counts = counts
        self._seconds = settings.serve.health_seconds
        self._service = secrets.token_hex(8)
        self._sequence = 0
        self._sending: pa.Table | None = None
        self._waiting: Rows = {}
        self._wrote = False
        self._problem = ""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="health", daemon=True)

    @property
    def problem(self) -> str:
        """Why the counts do not reach the lake, in plain words; empty if they do."""
        if self._thread.ident and not self._thread.is_alive() and not self._stopped.is_set():
            return "the thread that writes the counts of answers has ended: restart; the log says why"
        return self._problem

    def start(self) -> None:
        """Begin to write."""
        if self._seconds:
            self._thread.start()

    def stop(self) -> None:
        """Write the last counts, and end the thread."""
        self._stopped.set()
        if self._thread.ident:
            self._thread.join(STOP_SECONDS)
            if self._thread.is_alive():
                log.warning(
                    "the lake %s does not answer within %g s: the last counts of answers may be lost",
                    self._lake.url,
                    STOP_SECONDS,
                )

    def answered(self, question: Asked, answer: Answer, seconds: float) -> None:
        """Count an answer."""
        maker = Maker(answer.model, answer.version, answer.experiment or None, answer.arm or None)
        self._counts.answered(source_of(maker), seconds, is_empty=not answer.items)

    def failed(self, status: int, seconds: float, maker: Maker) -> None:
        """Count a request that could not be answered."""
        self._counts.failed(source_of(maker), status)

    def write(self) -> None:
        """Write all counts. The thread calls this at every interval."""
        self._waiting = add_rows(self._waiting, self._counts.take())
        try:
            if self._has_lake():
                self._send()
            elif self._wrote:
                raise FileNotFoundError(f"the lake {self._lake.url} is gone")
        except _FAILURES as error:
            self._set_problem(f"the counts of answers cannot be written to the lake; they are kept: {error}")
            return
        self._set_problem("")

    def _run(self) -> None:
        # Workers that start together do not write at the same moment.
        pause = self._seconds * random.uniform(0.5, 1.0)
        while not self._stopped.wait(pause):
            self.write()
            pause = self._seconds
        self.write()

    def _send(self) -> None:
        """Append what waits, behind the write that failed before."""
        while self._sending is not None or self._waiting:
            if self._sending is None:
                self._sequence += 1
                self._sending = table_of(self._waiting, self._service, self._sequence)
                self._waiting = {}
            self._lake.append(
                SERVICE_METRICS, self._sending, key=self._service, stamp=self._sequence, is_numbered=True
            )
            self._sending, self._wrote = None, True

    def _has_lake(self) -> bool:
        return "://" in self._lake.url or Path(self._lake.url).exists()

    def _set_problem(self, problem: str) -> None:
        """Tell a problem once, not at every write."""
        if problem and problem != self._problem:
            log.warning("%s", problem)
        elif self._problem and not problem:
            log.warning("solved: %s", self._problem)
        self._problem = problem
