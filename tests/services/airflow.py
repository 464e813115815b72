"""A real Airflow for tests: all its parts as child processes, in a folder and with ports of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import psutil

from lastaisle.lake import Lake
from lastaisle.settings import Settings
from lastaisle_airflow.local.airflow_api import AirflowApi, AirflowApiError, Run
from lastaisle_airflow.local.airflow_environment import environment
from lastaisle_airflow.local.polling import wait_until

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Airflow:
    """A running Airflow.

    Attributes:
        home: its folder.
        environment: what its processes were given.
        settings: what Lastaisle reads from it.
        api: its REST API.
    """

    home: Path
    environment: Mapping[str, str]
    settings: Settings
    process: subprocess.Popen[bytes]
    api: AirflowApi = field(init=False)

    @property
    def lake(self) -> Lake:
        """The tables that its tasks write."""
        return Lake(self.settings.lake.url)

    def alive(self) -> None:
        """Make sure that it runs."""
        assert self.process.poll() is None, (self.home / "services.log").read_text(errors="replace")[-3000:]

    def wait_for(self, what: str, ready: Callable[[], Any], timeout: float = 120) -> Any:
        """Return what `ready` gives as soon as that is true."""

        def ready_and_alive() -> Any:
            self.alive()
            with suppress(TimeoutError):  # a busy machine answers late
                return ready()

        if found := wait_until(ready_and_alive, timeout):
            return found
        raise AssertionError(f"not within {timeout:.0f} s: {what}; logs in {self.home}")

    def command(self, *arguments: str) -> str:
        """Run a command of Airflow's and return what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *arguments],
            env=self.environment,
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (
            f"airflow {' '.join(arguments)}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
        return done.stdout

    def pause(self, dag_id: str, paused: bool = True) -> None:
        """Pause a DAG, or let it go on."""
        self.api.pause(dag_id, paused)

    def states(self, run: Run) -> dict[str, list[str]]:
        """Return the states of a run's task instances, by task."""
        found: dict[str, list[str]] = {}
        for task in self.api.tasks(run):
            found.setdefault(task["task_id"], []).append(task["state"])
        return {task: sorted(map(str, states)) for task, states in found.items()}

    def log_of(self, run: Run, task_id: str) -> str:
        """Return all that the tasks of this id wrote in a run."""
        folder = self.home / "airflow" / "logs" / f"dag_id={run.dag_id}" / f"run_id={run.run_id}"
        logs = sorted((folder / f"task_id={task_id}").rglob("*.log"))
        return "\n".join(log.read_text(errors="replace") for log in logs)


@contextmanager
def running_airflow(
    home: Path, dags: tuple[str, ...] = ("ingest_sessions",), **given: str
) -> Iterator[Airflow]:
    """Start Airflow, wait until it has read the DAGs, stop it at the end.

    Args:
        home: an empty folder.
        dags: which DAGs are not paused.
        **given: environment variables.
    """
    complete = environment_of(home, **given)
    home.mkdir(parents=True, exist_ok=True)
    with (home / "services.log").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "lastaisle_airflow.local.services"],
            env=complete,
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    airflow = Airflow(home, complete, Settings.from_env(complete), process)
    try:
        airflow.api = airflow.wait_for("the API server", lambda: _log_in(airflow))
        known = {path.stem for path in (ROOT / "dags").glob("*.py")}
        airflow.wait_for("all DAGs read", lambda: known <= _dags(airflow))
        for dag_id in dags:
            airflow.pause(dag_id, paused=False)
        yield airflow
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(90)


def environment_of(home: Path, **given: str) -> dict[str, str]:
    """Return what every process of an Airflow of its own needs, whatever settings this process has."""
    ours = ("LASTAISLE_", "AIRFLOW_", "PYTHONDONTWRITEBYTECODE")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    paths = [str(ROOT), str(ROOT / "plugins"), *filter(None, [inherited.get("PYTHONPATH")])]
    defaults = {
        "LASTAISLE_HOME": str(home),
        "LASTAISLE_AIRFLOW_PORT": str(free_port()),
        "LASTAISLE_MLFLOW_PORT": str(free_port()),
        "AIRFLOW_HOME": str(home / "airflow"),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",  # each test starts what it is about
        "PYTHONPATH": os.pathsep.join(paths),
    }
    with mock.patch.dict(os.environ, inherited | defaults | given, clear=True):
        return environment(Settings.from_env())


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _log_in(airflow: Airflow) -> AirflowApi | None:
    generated = airflow.home / "airflow" / "simple_auth_manager_passwords.json.generated"
    if not generated.exists():
        return None
    ((user, password),) = json.loads(generated.read_text() or "{}").items() or [("", "")]
    try:
        return AirflowApi(f"http://127.0.0.1:{airflow.settings.services.airflow_port}", user, password)
    except (AirflowApiError, OSError):
        return None


def _dags(airflow: Airflow) -> set[str]:
    return {dag["dag_id"] for dag in airflow.api.get("/dags", limit=100)["dags"]}


def heavy_libraries_of(pid: int) -> dict[str, set[str]]:
    """Return which processes below one hold libraries that do not survive a fork, by command line."""
    names = ("tensorflow", "duckdb", "deltalake")
    found = {}
    root = psutil.Process(pid)
    for process in (root, *root.children(recursive=True)):
        maps = Path(f"/proc/{process.pid}/maps")
        text = maps.read_text() if maps.exists() else ""
        if held := {name for name in names if f"/{name}/" in text or f"/_{name}" in text}:
            found[" ".join(process.cmdline())] = held
    return found
