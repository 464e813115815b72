"""Several processes that answer on one listening socket; a process that ends is replaced."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Final

from lastaisle.errors import ExitCode, LastaisleError
from lastaisle.serve.metrics import SHARED_FOLDER, forget_worker
from lastaisle.settings import Settings
from lastaisle.web.listening import SHUTDOWN_SECONDS

LOOK_SECONDS: Final = 0.1
SHORT_LIFE_SECONDS: Final = 10.0
"""A process that ends sooner is replaced after a pause."""
LONGEST_PAUSE_SECONDS: Final = 30.0
FAILURES: Final = 3
"""The service ends if its processes end sooner this many times in turn, and none lives longer."""

log = logging.getLogger(__name__)


class WorkersError(LastaisleError):
    """No process of the service stays alive."""

    exit_code = ExitCode.SERVICE_DOWN


class Workers:
    """The processes of a service.

    A process ends when the standard input that it was given ends, so that no process outlives this one.

    Args:
        settings: the settings of each process; `serve.workers` is their number.
        listening: the socket that all listen on.
        folder: a packed model to serve; None follows the registry.
    """

    def __init__(self, settings: Settings, listening: socket.socket, folder: Path | None) -> None:
        self._settings = settings
        self._listening = listening
        self._folder = folder
        self._ending = threading.Event()

    def run(self) -> None:
        """Keep the processes alive until SIGTERM or SIGINT; then let them answer their open requests.

        Raises:
            WorkersError: no process stays alive.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        with tempfile.TemporaryDirectory(prefix="lastaisle-metrics-") as shared:
            places = [
                _Place(self._command(), self._environment(shared))
                for _ in range(self._settings.serve.workers)
            ]
            try:
                self._keep(places, shared)
            finally:
                for place in places:
                    place.terminate()
                deadline = time.monotonic() + SHUTDOWN_SECONDS + 5
                for place in places:
                    place.wait(max(0.0, deadline - time.monotonic()))

    def _keep(self, places: list[_Place], shared: str) -> None:
        while not self._ending.wait(LOOK_SECONDS):
            for place in places:
                if (ended := place.look(self._listening)) is not None:
                    forget_worker(ended, shared)
            if all(place.failures >= FAILURES for place in places):
                raise WorkersError(
                    f"the {len(places)} processes of the service end again and again; their messages above "
                    "say why"
                )

    def _command(self) -> list[str]:
        folder = [str(self._folder.resolve())] if self._folder else []
        return [sys.executable, "-m", "lastaisle.serve.worker", str(self._listening.fileno()), *folder]

    def _environment(self, shared: str) -> dict[str, str]:
        return {**os.environ, **self._settings.to_env(), SHARED_FOLDER: shared}

    def _end(self, number: int, frame: FrameType | None) -> None:
        self._ending.set()


class _Place:
    """The place of one process, which may hold several in turn.

    Attributes:
        failures: how many processes in turn ended soon after their start.
    """

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.failures = 0
        self._command = command
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._began = 0.0
        self._not_before = 0.0

    def look(self, listening: socket.socket) -> int | None:
        """Start a process if there is none; return the id of one that has ended."""
        now = time.monotonic()
        if self._process is None:
            if now >= self._not_before:
                self._began = now
                self._process = subprocess.Popen(
                    self._command,
                    env=self._environment,
                    stdin=subprocess.PIPE,
                    pass_fds=[listening.fileno()],
                    start_new_session=True,  # Ctrl-C reaches the first process alone, which tells the others
                )
            return None
        if self._process.poll() is None:
            return None
        ended, self._process = self._process, None
        if now - self._began < SHORT_LIFE_SECONDS:
            self.failures += 1
            self._not_before = now + min(2.0 ** (self.failures - 1), LONGEST_PAUSE_SECONDS)
        else:
            self.failures = 0
        log.warning(
            "process %d of the service ended with %d; another one starts", ended.pid, ended.returncode
        )
        if ended.stdin:
            ended.stdin.close()
        return ended.pid

    def terminate(self) -> None:
        """Let the process answer its open requests and end."""
        if self._process is not None:
            self._process.terminate()

    def wait(self, seconds: float) -> None:
        """Wait for the end of the process, and kill it if it takes longer."""
        if self._process is None:
            return
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
