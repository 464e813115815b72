"""A client of a running Airflow: the few calls of its public REST API that the demo and the tests need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx

from lastaisle.errors import ExitCode, LastaisleError
from lastaisle_airflow.local.polling import wait_until

FINISHED = ("success", "failed")
_TIMEOUT_SECONDS = 30.0
#: Connections are dropped before the API server drops them, which it does after 5 s without a call.
_LIMITS = httpx.Limits(keepalive_expiry=2.0)


class AirflowApiError(LastaisleError):
    """Airflow refused a call, or did not do something in time."""

    exit_code = ExitCode.SERVICE_DOWN


@dataclass(frozen=True)
class Run:
    """One run of a DAG.

    Attributes:
        dag_id: id of the DAG.
        run_id: Airflow's name of the run.
        partition: the run's partition key, if it has one.
        state: queued, running, success or failed.
        start: the moment when the scheduler began the run.
        end: the moment when the run ended.
        conf: the parameters with which the run was triggered.
        note: the outcome of the run in one sentence, once it is over.
    """

    dag_id: str
    run_id: str
    partition: str | None
    state: str
    start: datetime | None
    end: datetime | None
    conf: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""

    @property
    def finished(self) -> bool:
        """Whether the run is over."""
        return self.state in FINISHED


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _run_of(dag_id: str, row: Mapping[str, Any]) -> Run:
    """Return a run from the row that Airflow's API answers."""
    began, ended = _moment(row["start_date"]), _moment(row["end_date"])
    return Run(
        dag_id,
        row["dag_run_id"],
        row["partition_key"],
        row["state"],
        began,
        ended,
        conf=row["conf"] or {},
        note=row["note"] or "",
    )


class AirflowApi:
    """A client of one Airflow.

    Args:
        base: address of the API server, such as http://127.0.0.1:8080.
        user: name of the user who logs in.
        password: the user's password.

    Attributes:
        base: the address.
        token: what the API server gave for the password.

    Raises:
        AirflowApiError: Airflow refuses the login.
        OSError: Airflow does not answer.
    """

    def __init__(self, base: str, user: str, password: str) -> None:
        self.base = base
        self._client = httpx.Client(
            base_url=base, timeout=_TIMEOUT_SECONDS, limits=_LIMITS, follow_redirects=True, trust_env=False
        )
        answer = self._call("POST", "/auth/token", {"username": user, "password": password})
        self.token: str = answer["access_token"]
        self._client.headers["Authorization"] = f"Bearer {self.token}"

    def get(self, path: str, **query: Any) -> Any:
        """Read a resource below /api/v2."""
        return self._call("GET", f"/api/v2{path}?{httpx.QueryParams(query)}")

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Create a resource below /api/v2."""
        return self._call("POST", f"/api/v2{path}", body)

    def answer(self, run: Run, task_id: str, option: str) -> None:
        """Answer a task that waits for people."""
        path = f"/dags/{run.dag_id}/dagRuns/{quote(run.run_id)}/taskInstances/{task_id}/-1/hitlDetails"
        self._call("PATCH", f"/api/v2{path}", {"chosen_options": [option], "params_input": {}})

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Return the JSON of an answer.

        Raises:
            AirflowApiError: Airflow answers with an error.
            TimeoutError: Airflow does not answer in time.
            ConnectionError: the connection fails.
        """
        try:
            answer = self._client.request(method, path, json=body)
        except httpx.TimeoutException as error:
            raise TimeoutError(f"{method} {path}: no answer in {_TIMEOUT_SECONDS:.0f} s") from error
        except httpx.TransportError as error:
            raise ConnectionError(f"{method} {path}: {error}") from error
        if answer.is_error:
            raise AirflowApiError(f"{method} {path}: status {answer.status_code}, {answer.text[:500]}")
        return answer.json()

    def runs(self, dag_id: str) -> list[Run]:
        """Return the runs of a DAG, oldest first."""
        answer = self.get(f"/dags/{dag_id}/dagRuns", limit=100, order_by="-run_after")
        runs = [_run_of(dag_id, row) for row in answer["dag_runs"]]
        return sorted(runs, key=lambda run: (run.start is None, run.start))

    def newest_by_partition(self, dag_id: str) -> dict[str, Run]:
        """Return the newest run of each partition."""
        return {run.partition: run for run in self.runs(dag_id) if run.partition}

    def tasks(self, run: Run) -> list[dict[str, Any]]:
        """Return the task instances of a run."""
        path = f"/dags/{run.dag_id}/dagRuns/{quote(run.run_id)}/taskInstances"
        return list(self.get(path, limit=1000)["task_instances"])

    def result(self, run: Run, task_id: str) -> Any:
        """Return the result of a task; None if the task has no result."""
        path = f"/dags/{run.dag_id}/dagRuns/{quote(run.run_id)}/taskInstances/{task_id}"
        try:
            return self.get(f"{path}/xcomEntries/return_value", deserialize="true")["value"]
        except AirflowApiError as error:
            if "status 404" in str(error):
                return None
            raise

    def trigger_once(self, dag_id: str, conf: Mapping[str, Any]) -> Run:
        """Trigger a run, unless a manual run with these parameters runs or has succeeded; return the run."""
        for run in reversed(self.runs(dag_id)):
            if run.run_id.startswith("manual") and run.conf == conf and run.state != "failed":
                return run
        return self._trigger(dag_id, {"conf": dict(conf)})

    def trigger_partition(self, dag_id: str, partition: str) -> Run:
        """Trigger a run for a partition, unless the newest run has not failed; return the run."""
        run = self.newest_by_partition(dag_id).get(partition)
        if run is not None and run.state != "failed":
            return run
        return self._trigger(dag_id, {"partition_key": partition})

    def _trigger(self, dag_id: str, body: Mapping[str, Any]) -> Run:
        return _run_of(dag_id, self.post(f"/dags/{dag_id}/dagRuns", {**body, "logical_date": None}))

    def pause(self, dag_id: str, paused: bool = True) -> None:
        """Pause a DAG, or unpause it."""
        self._call("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": paused})

    def clear_failed(self, run: Run) -> None:
        """Clear the failed tasks of a run, so that they run again."""
        path = f"/dags/{run.dag_id}/dagRuns/{quote(run.run_id)}/clear"
        self.post(path, {"dry_run": False, "only_failed": True})

    def wait(self, run: Run, check: Callable[[], None], timeout: float = 1800.0) -> Run:
        """Wait until a run is over, and return it.

        Args:
            run: the run.
            check: function to call before each look at the run; an error that it raises ends the waiting.
            timeout: seconds to wait.

        Raises:
            AirflowApiError: the run was not over in time.
        """

        def finished() -> Run | None:
            check()
            current = next(row for row in self.runs(run.dag_id) if row.run_id == run.run_id)
            return current if current.finished else None

        ended = wait_until(finished, timeout)
        if ended is None:
            raise AirflowApiError(f"run {run.run_id} of {run.dag_id} was not over after {timeout:.0f} s")
        return ended


def seconds_of(tasks: list[dict[str, Any]], run: Run) -> tuple[float, float]:
    """Split the time of a run into work and Airflow's overhead.

    Work is the time in which at least one task ran, with its imports. Overhead is the rest of the run: the
    scheduler's decisions and the starts of processes.
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
