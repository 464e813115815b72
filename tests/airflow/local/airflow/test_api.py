"""The client of Airflow's REST API, against a small HTTP server."""

import json
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from lastaisle_airflow.local.airflow.api import AirflowApi, AirflowApiError, Run, seconds_of
from lastaisle_airflow.local.polling import wait_until

RUN = {
    "dag_run_id": "manual__1",
    "partition_key": None,
    "start_date": None,
    "end_date": None,
    "conf": {},
    "note": None,
}


class Handler(BaseHTTPRequestHandler):
    """Answer like Airflow: a token for the right password, and a DAG run that ends at the second call."""

    protocol_version = "HTTP/1.1"
    calls = 0

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if "dagRuns" in self.path:
            self._answer(200, {**RUN, "state": "queued", **body})
        elif body["password"] == "right":
            self._answer(201, {"access_token": "t"})
        else:
            self._answer(401, {"detail": "wrong password"})

    def do_GET(self):
        if self.headers["Authorization"] != "Bearer t" or "dagRuns" not in self.path:
            self._answer(404, {"detail": "x" * 1000})
            return
        type(self).calls += 1
        state = "success" if self.calls > 1 else "running"
        self._answer(200, {"dag_runs": [{**RUN, "state": state}]})

    def _answer(self, status, content):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def base():
    Handler.calls = 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_refused_call_names_the_call_the_status_and_the_answer(base):
    with pytest.raises(
        AirflowApiError, match=r'POST /auth/token: status 401, \{"detail": "wrong password"\}'
    ):
        AirflowApi(base, "admin", "wrong")
    with pytest.raises(AirflowApiError, match=r"GET /api/v2/pools\?limit=3: status 404") as refused:
        AirflowApi(base, "admin", "right").get("/pools", limit=3)
    assert len(str(refused.value)) < 600, "a long answer is cut"


def test_wait_returns_when_the_run_is_over(base):
    checks = []
    run = Run("retrain_full", "manual__1", None, "queued", None, None)
    over = AirflowApi(base, "admin", "right").wait(run, lambda: checks.append(1))
    assert (over.state, len(checks)) == ("success", 2)


def test_a_partition_is_triggered_unless_its_newest_run_waits_runs_or_has_succeeded(base, monkeypatch):
    api = AirflowApi(base, "admin", "right")
    run = api.trigger_partition("ingest_sessions", "2025-10-01")
    assert (run.partition, run.state) == ("2025-10-01", "queued")
    for state, triggered in (("queued", False), ("running", False), ("success", False), ("failed", True)):
        known = {**RUN, "dag_run_id": "earlier", "partition_key": "2025-10-01", "state": state}
        monkeypatch.setattr(api, "get", lambda *_, known=known, **__: {"dag_runs": [known]})
        assert (api.trigger_partition("ingest_sessions", "2025-10-01").run_id != "earlier") is triggered


def test_a_missing_server_raises_an_os_error():
    with pytest.raises(ConnectionError, match="POST /auth/token"):
        AirflowApi("http://127.0.0.1:9", "admin", "right")


def test_waiting_ends_with_the_first_true_result_an_error_or_the_time():
    results = iter([None, 0, "ready"])
    assert wait_until(lambda: next(results), timeout=60, pause=0) == "ready"
    assert wait_until(lambda: None, timeout=0) is None
    with pytest.raises(ZeroDivisionError):
        wait_until(lambda: 1 / 0, timeout=60)


def test_parallel_tasks_count_once_and_the_rest_is_overhead():
    def at(second):
        return datetime(2025, 10, 9, 0, 0, second, tzinfo=UTC)

    def task(start, end):
        return {"start_date": at(start).isoformat(), "end_date": at(end).isoformat(), "state": "success"}

    run = Run("d", "r", None, "success", at(0), at(30))
    waiting = {"start_date": None, "end_date": None, "state": "skipped"}
    assert seconds_of([task(12, 20), task(2, 10), task(4, 8), task(6, 11), waiting], run) == (17.0, 13.0)
