"""A collector that runs as it does in earnest: a process of its own, on a port of its own."""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.services.required import starts_service

WRITE_KEY = "shop-web"
SECRET = "only segment knows"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def code(self) -> str:
        return json.loads(self.text)["code"]


@dataclass
class Running:
    """A running collector and what it writes to; `files` limits the files that it may open."""

    to: str
    folder: Path
    environ: dict[str, str] = field(default_factory=dict)
    files: int = 0
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Running:
        starts_service("a collector")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        environ = {
            **os.environ,
            "LASTAISLE_HOME": str(self.folder / "home"),
            "LASTAISLE_SEGMENT_WRITE_KEYS": f"another, {WRITE_KEY}",
            "LASTAISLE_SEGMENT_SECRET": SECRET,
            **self.environ,
        }
        command = [
            sys.executable,
            "-m",
            "lastaisle.cli",
            "collect",
            "--to",
            self.to,
            "--port",
            str(self.port),
        ]
        if self.files:
            command = ["sh", "-c", f'ulimit -n {self.files}; exec "$@"', "sh", *command]
        self.log = self.folder / "collector.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, env=environ, stdout=log, stderr=log)
        for _ in range(600):
            if self.process.poll() is not None:
                raise AssertionError(f"the collector ended: {self.log.read_text()}")
            try:
                self.send("GET", "/healthz")
                return self
            except OSError:
                time.sleep(0.05)
        raise AssertionError("the collector does not answer")

    def send(
        self, method: str, path: str, body: Any = None, key: str | None = WRITE_KEY, **headers
    ) -> Answer:
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data=body, method=method)
        if key is not None:
            request.add_header("Authorization", "Basic " + base64.b64encode(f"{key}:".encode()).decode())
        for name, value in headers.items():
            request.add_header(name.replace("_", "-"), value)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return Answer(answer.status, dict(answer.headers), answer.read().decode())
        except urllib.error.HTTPError as error:
            return Answer(error.code, dict(error.headers), error.read().decode())
        except urllib.error.URLError as error:
            if not isinstance(error.reason, BrokenPipeError | ConnectionResetError):
                raise
            return self._announce(request, body)  # refused by its length, before all of it was sent

    def _announce(self, request: urllib.request.Request, body: bytes) -> Answer:
        """Send the headers alone, which say how long the body would be."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {**request.headers, "Content-Length": str(len(body))}
        connection.request(request.get_method(), request.selector, headers=headers)
        answer = connection.getresponse()
        return Answer(answer.status, dict(answer.headers), answer.read().decode())

    def post(self, path: str, body: Any, key: str | None = WRITE_KEY, **headers) -> Answer:
        return self.send("POST", path, body, key, **headers)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        assert self.process
        if self.process.poll() is None:
            self.process.send_signal(how)
        self.process.wait(30)

    def landed(self) -> list[dict[str, Any]]:
        """The calls that ingestion would find, in the order of the files' names."""
        files = sorted((self.folder / "landing").rglob("*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]

    def unfinished(self) -> list[Path]:
        return list((self.folder / "landing").rglob("*.inprogress"))


@pytest.fixture
def collector(tmp_path) -> Iterator[Running]:
    running = Running(str(tmp_path / "landing" / "{day}"), tmp_path).start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def standing(tmp_path_factory) -> Iterator[Running]:
    """One collector for the tests that only look at its answers."""
    folder = tmp_path_factory.mktemp("standing")
    running = Running(str(folder / "landing" / "{day}"), folder).start()
    yield running
    running.stop()


@pytest.fixture
def make_collector(tmp_path) -> Iterator[Callable[..., Running]]:
    made: list[Running] = []

    def make(to: str | None = None, files: int = 0, **environ: str) -> Running:
        running = Running(to or str(tmp_path / "landing" / "{day}"), tmp_path, environ, files)
        made.append(running)
        return running.start()

    yield make
    for running in made:
        running.stop()
