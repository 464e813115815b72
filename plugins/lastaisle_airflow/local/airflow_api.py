"""What the demo and the tests ask of a running Airflow: its public REST API, in a few calls."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from lastaisle.errors import LastaisleError

FINISHED = ("success", "failed")


class AirflowApiError(LastaisleError):
    """A call that Airflow refused, or something that it did not do in time."""

    exit_code = 9


@dataclass(frozen=True)
class Run:
    """One run of a DAG.

    Attributes:
        dag_id: which DAG.
        run_id: Airflow's name of the run.
        partition: its partition key, if it has one.
        state: queued, running, success or failed.
        start: when the scheduler began it.
        end: when it was over.
        conf: what it was triggered with.
    """

    dag_id: str
    run_id: str
    partition: str | None
    state: str
    start: datetime | None
    end: datetime | None
    conf: Mapping[str, Any] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in FINISHED


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


class AirflowApi:
    """A client of one Airflow.

    Args:
        base: its address, such as http://127.0.0.1:8080.
        user: who logs in.
        password: with what.
    """

    def __init__(self, base: str, user: str, password: str) -> None:
        self.base = base
        self._token: str | None = None
        answer = self._call("POST", "/auth/token", {"username": user, "password": password})
        self._token = answer["access_token"]

    def get(self, path: str, **query: Any) -> Any:
        """Read something below /api/v2."""
        return self._call("GET", f"/api/v2{path}?{urllib.parse.urlencode(query)}")

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Ask for something below /api/v2."""
        return self._call("POST", f"/api/v2{path}", body)

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        request = urllib.request.Request(
            f"{self.base}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            detail = error.read(500).decode("utf-8", "replace")
            raise AirflowApiError(f"{method} {path}: status {error.code}, {detail}") from error

    def runs(self, dag_id: str) -> list[Run]:
        """Return the runs of a DAG, oldest first."""
        answer = self.get(f"/dags/{dag_id}/dagRuns", limit=100, order_by="-run_after")
        runs = [
            Run(
                dag_id,
                row["dag_run_id"],
                row["partition_key"],
                row["state"],
                _moment(row["start_date"]),
                _moment(row["end_date"]),
                row["conf"] or {},
            )
            for row in answer["dag_runs"]
        ]
        return sorted(runs, key=lambda run: (run.start is None, run.start))

    def newest_by_partition(self, dag_id: str) -> dict[str, Run]:
        """Return the newest run of each partition."""
        return {run.partition: run for run in self.runs(dag_id) if run.partition}

    def tasks(self, run: Run) -> list[dict[str, Any]]:
        """Return the task instances of a run."""
        path = f"/dags/{run.dag_id}/dagRuns/{urllib.parse.quote(run.run_id)}/taskInstances"
        return list(self.get(path, limit=1000)["task_instances"])

    def result(self, run: Run, task_id: str) -> Any:
        """Return what a task returned; None if it returned nothing."""
        where = f"/dags/{run.dag_id}/dagRuns/{urllib.parse.quote(run.run_id)}/taskInstances/{task_id}"
        try:
            return self.get(f"{where}/xcomEntries/return_value", deserialize="true")["value"]
        except AirflowApiError as error:
            if "status 404" in str(error):
                return None
            raise

    def trigger_once(self, dag_id: str, conf: Mapping[str, Any]) -> Run:
        """Start a run by hand, unless one with these parameters runs or has succeeded; return it."""
        for run in reversed(self.runs(dag_id)):
            if run.run_id.startswith("manual") and run.conf == conf and run.state != "failed":
                return run
        row = self.post(f"/dags/{dag_id}/dagRuns", {"conf": dict(conf), "logical_date": None})
        return Run(dag_id, row["dag_run_id"], row["partition_key"], row["state"], None, None)

    def pause(self, dag_id: str, paused: bool = True) -> None:
        """Pause a DAG, or let it go on."""
        self._call("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": paused})

    def clear_failed(self, run: Run) -> None:
        """Let the failed tasks of a run try again."""
        path = f"/dags/{run.dag_id}/dagRuns/{urllib.parse.quote(run.run_id)}/clear"
        self.post(path, {"dry_run": False, "only_failed": True})

    def wait(self, run: Run, alive: Callable[[], None], timeout: float = 1800.0) -> Run:
        """Wait until a run is over; `alive` may raise to end the waiting.

        Raises:
            AirflowApiError: it took too long.
        """
        for _ in ticks(timeout):
            alive()
            now = next(each for each in self.runs(run.dag_id) if each.run_id == run.run_id)
            if now.finished:
                return now
        raise AirflowApiError(f"run {run.run_id} of {run.dag_id} was not over after {timeout:.0f} s")


def ticks(timeout: float, pause: float = 0.7) -> Iterator[None]:
    """Yield until the time is over, with a pause between."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        yield
        time.sleep(pause)


def seconds_of(tasks: list[dict[str, Any]], run: Run) -> tuple[float, float]:
    """Split the time of a run into work and Airflow's overhead.

    Work is the time in which at least one task ran, its imports included; overhead is the rest of the run:
    the scheduler's decisions and the starts of processes.
    """
    spans = sorted(
        (datetime.fromisoformat(task["start_date"]), datetime.fromisoformat(task["end_date"]))
        for task in tasks
        if task["start_date"] and task["end_date"] and task["state"] in (*FINISHED, "skipped")
    )
    work = 0.0
    reached = datetime.min.replace(tzinfo=UTC)
    for begun, end in spans:
        work += max((end - max(begun, reached)).total_seconds(), 0.0)
        reached = max(reached, end)
    wall = (run.end - run.start).total_seconds() if run.start and run.end else work
    return work, max(wall - work, 0.0)
