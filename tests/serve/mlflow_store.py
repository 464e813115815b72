"""Versions of a small model in a real MLflow, for tests of what follows them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

from lastaisle.registry.registry import Registry
from lastaisle.settings import Settings
from models.by_name import create
from models.data.sequences import SessionLog
from tests.services.required import starts_service
from tests.services.waiting import wait_until


class Store:
    """MLflow's database and artifacts in a folder, and versions of the model.

    Attributes:
        settings: settings with the folder as home.
        registry: the registry of the settings.
    """

    def __init__(self, home: Path, **settings) -> None:
        self.home = home
        self.settings = Settings.of(home=home, serve_poll_seconds=0.1, **settings)
        self.registry = Registry(self.settings)

    def add(self, follower: str) -> str:
        """Register a version that recommends `follower` after "a", and return its number."""
        model = create("cooccurrence")
        model.fit(SessionLog.from_lists([["a", follower], ["a", follower, "other"]] * 4))
        with self.registry.run("a training", {}) as run_id:
            self.registry.log_packed(model, self.home / f"files of {follower}")
        digest = self.registry.tags(run_id)["lastaisle.digest"]
        return self.registry.register(run_id, {"run_key": follower, "lastaisle.digest": digest})

    def promote(self, version: str | None, alias: str = "champion") -> None:
        """Move an alias; None removes it."""
        self.registry.set_aliases({alias: version})


class MlflowServer:
    """A real MLflow server over a folder, which serves the artifacts too. Tests kill and restart it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        starts_service("MLflow")
        command = [sys.executable, "-m", "mlflow", "server", "--port", str(self._port), "--workers", "1"]
        command += ["--backend-store-uri", f"sqlite:///{self._folder}/mlflow.db"]
        command += ["--artifacts-destination", str(self._folder / "artifacts")]
        output = (self._folder / "server.log").open("ab")
        self._process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True, env=dict(os.environ)
        )
        output.close()
        wait_until("MLflow answers", self._answers, timeout=120, pause=0.1)

    def kill(self) -> None:
        """End the server and its workers at once, as a crash does."""
        if self._process is not None:
            os.killpg(self._process.pid, 9)
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=1) as answer:
                return answer.status == 200
        except OSError:
            return False
