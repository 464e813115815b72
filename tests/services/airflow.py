"""A real Airflow for tests: all parts as child processes, in a folder of their own and on free ports."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import psutil

from lastaisle.lake import Lake
from lastaisle.settings import Settings
from lastaisle_airflow.local.airflow.api import AirflowApi, AirflowApiError, Run
from lastaisle_airflow.local.environment import environment
from lastaisle_airflow.local.polling import wait_until
from tests.services.required import starts_service

ROOT = Path(__file__).resolve().parents[2]
#: The title that a process of Airflow gives itself before it runs a task.
RUNS_A_TASK = "airflow worker -- "
#: What a file of tests leaves in the home.
_FOLDERS = ("lake", "landing", "feedback", "subjects", "audits")
#: Rows of other tables that belong to a run are deleted with the run.
_TABLES_OF_RUNS = (
    "asset_partition_dag_run",
    "dag_run",
    "backfill",
    "asset_dag_run_queue",
    "partitioned_asset_key_log",
    "asset_event",
)
#: Tables whose rows are made with the database, or once for each process.
_TABLES_THAT_MLFLOW_MAKES = {
    "alembic_version",
    "experiments",
    "experiment_tags",
    "sqlite_sequence",
    "workspaces",
}


@dataclass
class Airflow:
    """A running Airflow.

    Attributes:
        home: Airflow's folder.
        environment: environment variables of its processes.
        settings: Lastaisle's settings in this environment.
        api: client of the REST API.
    """

    home: Path
    environment: Mapping[str, str]
    settings: Settings
    process: subprocess.Popen[bytes]
    api: AirflowApi = field(init=False)

    @property
    def lake(self) -> Lake:
        """The tables that the tasks write."""
        return Lake(self.settings.lake.url)

    def alive(self) -> None:
        """Make sure that Airflow runs."""
        assert self.process.poll() is None, (self.home / "services.log").read_text(errors="replace")[-3000:]

    def wait_for(self, description: str, ready: Callable[[], Any], timeout: float = 120) -> Any:
        """Return the first true result of `ready`; fail after `timeout` seconds."""

        def ready_and_alive() -> Any:
            self.alive()
            with suppress(TimeoutError):  # a busy machine may answer late
                return ready()

        if result := wait_until(ready_and_alive, timeout):
            return result
        raise AssertionError(f"not within {timeout:.0f} s: {description}; logs in {self.home}")

    def command(self, *arguments: str) -> str:
        """Run an Airflow command, and return its output."""
        ended = subprocess.run(
            [sys.executable, "-m", "airflow", *arguments],
            env=self.environment,
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, (
            f"airflow {' '.join(arguments)}: {ended.stdout[-2000:]}{ended.stderr[-2000:]}"
        )
        return ended.stdout

    def pause(self, dag_id: str, paused: bool = True) -> None:
        """Pause a DAG, or unpause it.

        While a task holds the lock of the SQLite database, the API answers with status 500, so ask again.
        """

        def accepted() -> bool:
            with suppress(AirflowApiError):
                self.api.pause(dag_id, paused)
                return True
            return False

        self.wait_for(f"{dag_id} is {'paused' if paused else 'not paused'}", accepted)

    @contextmanager
    def fresh(self, *dags: str) -> Iterator[Airflow]:
        """Give the running Airflow to a test file, without runs, tables and models of earlier files.

        Args:
            *dags: ids of the DAGs that are not paused for the test file.
        """
        self.wait_for("the last tasks of the file before", lambda: not self._tasks_under_way())
        self._forget_runs()
        self._forget_models()
        for folder in (*_FOLDERS, "airflow/logs/executor_callbacks"):
            shutil.rmtree(self.home / folder, ignore_errors=True)
        for dag_id in dags:
            self.pause(dag_id, paused=False)
        yield self
        for dag_id in dags:
            self.pause(dag_id)

    def _tasks_under_way(self) -> int:
        """Count the tasks that the executor has; a paused DAG sends the executor no tasks."""
        with closing(sqlite3.connect(self.home / "airflow" / "airflow.db", timeout=60)) as database:
            query = "SELECT count(*) FROM task_instance WHERE state IN ('queued', 'running')"
            return int(database.execute(query).fetchone()[0])

    def complete_backfills(self) -> None:
        """Mark backfills as complete whose runs are over; the scheduler does so up to 30 seconds later."""
        with closing(sqlite3.connect(self.home / "airflow" / "airflow.db", timeout=60)) as database, database:
            database.execute("UPDATE backfill SET completed_at = updated_at WHERE completed_at IS NULL")

    def _forget_runs(self) -> None:
        """Delete all runs and events from the database; the API has no calls for most of them."""
        _delete_rows(self.home / "airflow" / "airflow.db", _TABLES_OF_RUNS, cascade=True)

    def _forget_models(self) -> None:
        """Empty MLflow's database. The file stays, since this process keeps it open."""
        path = self.home / "mlflow" / "mlflow.db"
        if not path.exists():
            return
        with closing(sqlite3.connect(path)) as database:
            names = {
                name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            }
        _delete_rows(path, sorted(names - _TABLES_THAT_MLFLOW_MAKES), cascade=False)

    def states(self, run: Run) -> dict[str, list[str]]:
        """Return the states of a run's task instances, by task."""
        found: dict[str, list[str]] = {}
        for task in self.api.tasks(run):
            found.setdefault(task["task_id"], []).append(task["state"])
        return {task: sorted(map(str, states)) for task, states in found.items()}

    def events(self, asset: str) -> list[dict[str, Any]]:
        """Return the announcements of an asset, the oldest first."""
        events = self.api.get("/assets/events", order_by="timestamp", limit=1000)["asset_events"]
        return [event for event in events if event["name"] == asset]

    def log_of(self, run: Run, task_id: str) -> str:
        """Return the logs of all tasks with this id in a run."""
        folder = self.home / "airflow" / "logs" / f"dag_id={run.dag_id}" / f"run_id={run.run_id}"
        logs = sorted((folder / f"task_id={task_id}").rglob("*.log"))
        return "\n".join(log.read_text(errors="replace") for log in logs)


@contextmanager
def running_airflow(
    home: Path, dags: Sequence[str] = ("ingest_sessions",), **variables: str
) -> Iterator[Airflow]:
    """Run Airflow during a block; the block starts when Airflow has read the DAGs.

    Args:
        home: an empty folder.
        dags: ids of the DAGs that are not paused.
        **variables: more environment variables.
    """
    starts_service("Airflow")
    complete = environment_of(home, **variables)
    home.mkdir(parents=True, exist_ok=True)
    prepare_home(Path(complete["AIRFLOW_HOME"]))
    with (home / "services.log").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.services.airflow_parts"],
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


def prepare_home(home: Path) -> None:
    """Copy an Airflow folder with a migrated database and the pools, unless the folder has a database."""
    if (home / "airflow.db").exists():
        return
    template = _template()
    shutil.copytree(template, home, dirs_exist_ok=True)
    config = home / "airflow.cfg"
    config.write_text(config.read_text().replace(str(template), str(home)))


@cache
def _template() -> Path:
    """Make an Airflow folder once in a process, as `make up` makes it; the migration takes seconds."""
    folder = tempfile.TemporaryDirectory(prefix="lastaisle-airflow-template-")
    atexit.register(folder.cleanup)
    home = Path(folder.name, "airflow")
    environment = environment_of(Path(folder.name), AIRFLOW_HOME=str(home))
    command = [sys.executable, "-m", "lastaisle_airflow.local.airflow.setup"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return home


def environment_of(home: Path, **variables: str) -> dict[str, str]:
    """Return the environment of a separate Airflow, without the settings of this process."""
    own_prefixes = ("LASTAISLE_", "AIRFLOW_", "PYTHONDONTWRITEBYTECODE")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(own_prefixes)}
    paths = [str(ROOT), str(ROOT / "plugins"), *filter(None, [inherited.get("PYTHONPATH")])]
    defaults = {
        "LASTAISLE_HOME": str(home),
        "LASTAISLE_AIRFLOW_PORT": str(free_port()),
        "LASTAISLE_MLFLOW_PORT": str(free_port()),
        "LASTAISLE_SERVE_PORT": "0",
        "AIRFLOW_HOME": str(home / "airflow"),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",  # each test starts the runs that it checks
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
        "PYTHONPATH": os.pathsep.join(paths),
    }
    with mock.patch.dict(os.environ, inherited | defaults | variables, clear=True):
        return environment(Settings.from_env())


def free_port() -> int:
    """Return a port on which no process listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _delete_rows(path: Path, tables: Sequence[str], *, cascade: bool) -> None:
    with closing(sqlite3.connect(path, timeout=60)) as database:
        database.execute(f"PRAGMA foreign_keys = {'ON' if cascade else 'OFF'}")
        with database:
            for table in tables:
                database.execute(f"DELETE FROM {table}")


def _log_in(airflow: Airflow) -> AirflowApi | None:
    generated = airflow.home / "airflow" / "simple_auth_manager_passwords.json.generated"
    if not generated.exists():
        return None
    user, password = next(iter(json.loads(generated.read_text() or "{}").items()), ("", ""))
    try:
        return AirflowApi(f"http://127.0.0.1:{airflow.settings.services.airflow_port}", user, password)
    except (AirflowApiError, OSError):
        return None


def _dags(airflow: Airflow) -> set[str]:
    return {dag["dag_id"] for dag in airflow.api.get("/dags", limit=100)["dags"]}


def heavy_libraries_of(pid: int) -> dict[str, set[str]]:
    """Return the command lines of child processes with loaded libraries that do not survive a fork.

    A process that runs a task forks nothing more, so it may hold them.
    """
    names = ("tensorflow", "duckdb", "deltalake")
    found = {}
    root = psutil.Process(pid)
    for process in (root, *root.children(recursive=True)):
        with suppress(FileNotFoundError, ProcessLookupError, psutil.NoSuchProcess):  # it ended meanwhile
            command = " ".join(process.cmdline())
            text = Path(f"/proc/{process.pid}/maps").read_text()
            held = {name for name in names if f"/{name}/" in text or f"/_{name}" in text}
            if held and not command.startswith(RUNS_A_TASK):
                found[command] = held
    return found
