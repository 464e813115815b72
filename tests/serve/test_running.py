"""The service as processes: what it keeps when it is ended or killed, and how it swaps under load."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pandas as pd
import psutil
import pytest

from lastaisle.feedback.health import read_health
from lastaisle.lake import Lake
from lastaisle.lake.tables import SERVICE_METRICS
from models.by_name import create
from models.data.sequences import SessionLog
from models.serving.export import export_artifact
from tests.serve.mlflow_store import Store
from tests.serve.running import Running
from tests.serve.toys import KEY
from tests.services.required import starts_service
from tests.services.waiting import wait_until

pytestmark = [pytest.mark.training, pytest.mark.service]


@pytest.fixture(scope="module")
def light(tmp_path_factory) -> str:
    model = create("cooccurrence")
    model.fit(SessionLog.from_lists([["a", "b"], ["a", "b", "c"], ["c", "d"]] * 4))
    return str(export_artifact(model, tmp_path_factory.mktemp("packed"))["light"])


@pytest.fixture
def make_running(tmp_path) -> Iterator[Callable[..., Running]]:
    made: list[Running] = []

    def make(*arguments: str, **environ: str) -> Running:
        made.append(Running(tmp_path, *arguments, **environ))
        return made[-1].start()

    yield make
    for running in made:
        running.stop()


def exposure(number: int) -> dict[str, object]:
    return {
        "recommendation_id": f"7-m-{number:024x}",
        "kind": "shown",
        "items": ["a", "b"],
        "session_pseudonym": "0" * 32,
    }


def test_what_was_acknowledged_outlives_kill_9(make_running, light):
    service = make_running("--model", light)
    for number in range(5):
        assert service.client.post("/v1/feedback", json=exposure(number)).json() == {"stored": 2}
    service.stop(signal.SIGKILL)
    assert service.feedback() == []
    assert len(service.feedback(".jsonl.inprogress")) == 10
    service.start()
    assert len(service.feedback()) == 10


def test_feedback_is_published_at_the_age_that_the_settings_name(make_running, light):
    service = make_running("--model", light, LASTAISLE_SERVE_FEEDBACK_SECONDS="0.5")
    service.client.post("/v1/feedback", json=exposure(1))
    wait_until("the file is published", lambda: len(service.feedback()) == 2, timeout=10)
    assert service.feedback(".jsonl.inprogress") == []


def test_sigterm_lets_an_open_request_be_answered_and_publishes_the_feedback(make_running, light):
    service = make_running("--model", light)
    service.client.post("/v1/feedback", json=exposure(1))
    body = json.dumps({"items": ["a"], "k": 1}).encode()
    head = f"POST /v1/recommendations HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    host, port = service.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head.encode() + body[:5])
        time.sleep(0.3)  # the service has read the head
        assert service.process
        service.process.terminate()
        time.sleep(0.5)
        connection.sendall(body[5:])
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 200") and b'"id":"b"' in answer
    service.process.wait(20)
    assert len(service.feedback()) == 2


def test_nothing_of_the_caller_is_logged(make_running, light):
    service = make_running("--model", light)
    wrong = {"Authorization": "Bearer secret-wrong-key"}
    service.client.get("/v1/model", headers=wrong)
    for user in ("secret-anna", "secret\nanna", ["secret-anna"]):
        service.client.post("/v1/recommendations", json={"items": ["a"], "user_id": user})
        service.client.post("/v1/recommendations", json={"context": {"country": user}})
        service.client.post(
            "/v1/feedback", json={**exposure(1), "session_pseudonym": None, "session_id": user}
        )
    metrics = service.client.get("/metrics").text
    service.stop()
    kept = service.log.read_text() + metrics + json.dumps(service.feedback())
    for secret in ("secret", KEY, "127.0.0.1:"):
        assert secret not in kept.replace(service.url, "")


def test_a_key_of_the_file_is_valid_from_the_next_second_and_refused_when_it_is_gone(
    make_running, light, tmp_path
):
    file = tmp_path / "keys"
    file.write_text("first\n")
    service = make_running("--model", light, LASTAISLE_SERVE_KEY_FILE=str(file))

    def status(key: str) -> int:
        return service.client.get("/v1/model", headers={"Authorization": f"Bearer {key}"}).status_code

    assert (status("first"), status("second"), status(KEY)) == (200, 401, 200)
    file.write_text("# rotated\nsecond\n")
    wait_until("the new key is known", lambda: status("second") == 200, timeout=10)
    assert status("first") == 401
    file.unlink()
    wait_until(
        "the problem is shown",
        lambda: "its last keys stay valid" in str(service.client.get("/v1/model").json()["problems"]),
        timeout=10,
    )
    assert status("second") == 200


def test_a_killed_worker_is_replaced_and_the_metrics_of_all_add_up(make_running, light):
    service = make_running("--model", light, "--workers", "2")
    before = {
        worker.pid
        for worker in wait_until("both answer", lambda: service.workers()[1:] and service.workers())
    }
    asked = 0
    for _ in range(40):  # each on a connection of its own, so that both workers answer
        headers = {"Authorization": f"Bearer {KEY}"}
        reply = httpx.post(f"{service.url}/v1/recommendations", json={"items": ["a"]}, headers=headers)
        assert reply.status_code == 200
        asked += 1
    series = 'lastaisle_serve_requests_total{path="/v1/recommendations",policy="model",status="200"}'

    def counted() -> float:
        lines = service.client.get("/metrics").text.splitlines()
        return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(series))

    assert counted() == asked
    psutil.Process(min(before)).kill()
    for _ in range(20):
        reply = httpx.post(f"{service.url}/v1/recommendations", json={"items": ["a"]}, headers=headers)
        assert reply.status_code == 200
        asked += 1
    wait_until("a new worker runs", lambda: len({each.pid for each in service.workers()}) == 2)
    assert min(before) not in {each.pid for each in service.workers()}
    wait_until("the client's connection is answered", lambda: _counts(counted, asked), timeout=20)


def _counts(counted: Callable[[], float], expected: int) -> bool:
    try:
        return counted() == expected
    except httpx.HTTPError:  # its connection was to the worker that was killed
        return False


def test_the_lake_counts_each_answer_once_and_a_killed_worker_takes_no_written_count_along(
    make_running, light, tmp_path
):
    (tmp_path / "home" / "lake").mkdir(parents=True)
    lake = Lake(tmp_path / "home" / "lake")
    service = make_running("--model", light, "--workers", "2", LASTAISLE_SERVE_HEALTH_SECONDS="0.3")
    workers = wait_until("both run", lambda: service.workers()[1:] and service.workers())

    def ask(times: int) -> None:
        for _ in range(times):  # each on a connection of its own, so that both workers answer
            headers = {"Authorization": f"Bearer {KEY}"}
            for body in ({"items": ["a"]}, {"items": ["a"], "k": 0}):
                httpx.post(f"{service.url}/v1/recommendations", json=body, headers=headers)

    def counted() -> list[dict[str, object]]:
        return read_health(lake, by=("model_version", "role")).to_pylist()

    def requests() -> int:
        return sum(row["requests"] for row in counted())

    ask(20)
    wait_until("the counts are written", lambda: requests() == 20, timeout=10)
    psutil.Process(workers[0].pid).kill()
    wait_until("a new worker runs", lambda: workers[0] not in service.workers() and service.workers()[1:])
    ask(20)
    service.stop()
    [row] = counted()
    assert (row["role"], row["requests"], row["errors"], row["empty_lists"]) == ("champion", 40, 0, 0)
    assert sum(row["latency_counts"]) == 40, "the status 422 is the caller's, and does not count"
    assert 0 < row["p50_seconds"] <= row["p99_seconds"] < 5
    names = set(lake.scan(SERVICE_METRICS)["service"].to_pylist())
    assert 2 <= len(names) <= 3


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_the_service(make_running, light, how):
    service = make_running("--model", light, "--workers", "2")
    wait_until("both run", lambda: len(service.workers()) == 2)
    workers = service.workers()
    service.client.close()
    service.stop(how)
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert alive == []


def test_a_promotion_and_a_rollback_under_load_fail_no_request(make_running, tmp_path):
    store = Store(tmp_path / "home")
    first, second = store.add("b"), store.add("c")
    store.promote(first)
    service = make_running(LASTAISLE_SERVE_POLL_SECONDS="0.2")
    assert service.ask("a", k=1)["version"] == first
    seen: set[tuple[str, str]] = set()
    failed: list[object] = []
    ended = threading.Event()

    def load() -> None:
        with httpx.Client(base_url=service.url, headers={"Authorization": f"Bearer {KEY}"}) as client:
            while not ended.is_set():
                reply = client.post("/v1/recommendations", json={"items": ["a"], "k": 1})
                if reply.status_code != 200:
                    failed.append(reply.text)
                    continue
                seen.add((reply.json()["version"], reply.json()["items"][0]["id"]))

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for version in (second, first) * 3:
            store.promote(version)
            moved = time.monotonic()
            wait_until("it follows", lambda expected=version: service.ask("a", k=1)["version"] == expected)
            assert time.monotonic() - moved < 5
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert failed == []
    assert seen == {(first, "b"), (second, "c")}, "each answer is of one version, whole"


def test_the_pyfunc_mlflows_server_and_the_service_give_the_same_items(make_running, tmp_path):
    import mlflow

    store = Store(tmp_path / "home")
    version = store.add("b")
    store.promote(version)
    uri = f"models:/{store.settings.registry.model_name}@champion"
    sessions = [["a"], ["b", "a"], ["other"], [], ["never seen"], ["a", "never seen"]]
    mlflow.set_tracking_uri(store.settings.registry.mlflow_uri)
    loaded = mlflow.pyfunc.load_model(uri)
    expected = list(loaded.predict(pd.DataFrame({"items": sessions}), params={"k": 3})["items"])
    service = make_running()
    assert [[item["id"] for item in service.ask(*each, k=3)["items"]] for each in sessions] == expected
    assert _by_mlflow(store, uri, sessions, tmp_path) == expected


def _by_mlflow(store: Store, uri: str, sessions: list[list[str]], folder: Path) -> list[list[str]]:
    """Ask `mlflow models serve`."""
    starts_service("mlflow models serve")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", uri, "-p", str(port)]
    command += ["--env-manager", "local", "--workers", "1"]
    environ = {**os.environ, "MLFLOW_TRACKING_URI": store.settings.registry.mlflow_uri}
    environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environ['PATH']}"  # it starts uvicorn
    with (folder / "mlflow.log").open("ab") as log:
        process = subprocess.Popen(command, env=environ, stdout=log, stderr=log, start_new_session=True)
    try:

        def answers() -> bool:
            assert process.poll() is None, (folder / "mlflow.log").read_text()
            try:
                return httpx.get(f"http://127.0.0.1:{port}/ping").status_code == 200
            except httpx.HTTPError:
                return False

        wait_until("mlflow answers", answers, timeout=120, pause=0.2)
        body = {"dataframe_records": [{"items": each} for each in sessions], "params": {"k": 3}}
        reply = httpx.post(f"http://127.0.0.1:{port}/invocations", json=body, timeout=60)
        return [row["items"] for row in reply.json()["predictions"]]
    finally:
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
        process.kill()
        process.wait()
