"""A service that runs as it does in earnest: processes of its own, on a port of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.serve.toys import KEY
from tests.services.required import starts_service
from tests.services.waiting import wait_until


class Running:
    """A service.

    Args:
        folder: where its home and its log lie.
        arguments: arguments of `lastaisle serve`.
        environ: further environment variables.
    """

    def __init__(self, folder: Path, *arguments: str, **environ: str) -> None:
        self.folder, self.arguments = folder, arguments
        self.environ = {"LASTAISLE_HOME": str(folder / "home"), "LASTAISLE_SERVE_KEYS": KEY, **environ}
        self.log = folder / "service.log"
        self.url = ""
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Running:
        starts_service("a service")
        command = [sys.executable, "-m", "lastaisle.cli", "serve", "--port", "0", *self.arguments]
        begin = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, env={**os.environ, **self.environ}, stdout=log, stderr=log
            )
        self.url = wait_until("the service listens", lambda: self._announced(begin), timeout=60)
        self.client = httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {KEY}"}, timeout=30)
        wait_until("the service is ready", self.is_ready, timeout=60)
        return self

    def is_ready(self) -> bool:
        assert self.process and self.process.poll() is None, self.log.read_text()
        try:
            return self.client.get("/readyz").status_code == 200
        except httpx.HTTPError:
            return False

    def ask(self, *items: Any, **fields: Any) -> dict[str, Any]:
        reply = self.client.post("/v1/recommendations", json={"items": list(items), **fields})
        assert reply.status_code == 200, reply.text
        return reply.json()

    def workers(self) -> list[psutil.Process]:
        assert self.process
        return psutil.Process(self.process.pid).children()

    def feedback(self, ending: str = ".jsonl") -> list[dict[str, Any]]:
        """The rows in the files of feedback with this ending."""
        found = sorted((self.folder / "home" / "feedback").rglob(f"feedback-*{ending}"))
        return [json.loads(line) for file in found for line in file.read_text().splitlines()]

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(40)

    def _announced(self, begin: int) -> str:
        assert self.process and self.process.poll() is None, self.log.read_text()
        words = self.log.read_bytes()[begin:].decode().split()
        return next((word.rstrip(";.,") for word in words if word.startswith("http://127.0.0.1")), "")
