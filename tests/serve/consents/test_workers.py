"""A withdrawn consent in a service of two processes, with a real table between them."""

from __future__ import annotations

import signal
from datetime import UTC, datetime

import httpx
import pytest

from lastaisle.lake import Lake
from lastaisle.lake.tables import CONSENTS
from lastaisle.privacy.consents import Decision, record
from models.by_name import create
from models.data.sequences import SessionLog
from models.serving.export import export_artifact
from tests.serve.running import Running
from tests.serve.toys import KEY
from tests.services.waiting import wait_until

pytestmark = [pytest.mark.training, pytest.mark.service]

WORKERS = 2
DEADLINE = 20
"""Far more than the second within which each process honours a decision."""


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    model = create("cooccurrence")
    model.fit(SessionLog.from_lists([["a", "b"], ["a", "b", "c"], ["c", "d"]] * 4))
    light = str(export_artifact(model, tmp_path_factory.mktemp("packed"))["light"])
    folder = tmp_path_factory.mktemp("service")
    (folder / "home" / "lake").mkdir(parents=True)
    running = Running(folder, "--model", light, LASTAISLE_SERVE_WORKERS=str(WORKERS))
    try:
        yield running.start()
    finally:
        running.stop()


def ask(service, **fields):
    """Return the answer on a connection of its own, which any of the processes may take."""
    with httpx.Client(base_url=service.url, headers={"Authorization": f"Bearer {KEY}"}, timeout=30) as client:
        reply = client.post("/v1/recommendations", json={"items": ["a"], "k": 1, **fields})
    if reply.status_code == 503:  # the process that answers has just started
        return {"not_personalized": "unready"}
    assert reply.status_code == 200, reply.text
    return reply.json()


def lists_of_all(service, **fields):
    """Return the reasons of many lists: by chance, two processes take them all."""
    return {ask(service, **fields).get("not_personalized") for _ in range(24)}


def personal(service, **fields):
    return lists_of_all(service, **fields) == {None}


def withdrawn(service, **fields):
    return lists_of_all(service, **fields) == {"withdrawn"}


def test_a_decision_that_one_process_takes_is_honoured_by_all_and_outlives_kill_9(service):
    anna = {"pseudonym": "a" * 32}
    wait_until("both processes know the table", lambda: personal(service, **anna), timeout=DEADLINE)
    body = {**anna, "purposes": ["personalization"], "granted": False}
    reply = service.client.post("/v1/consent", json=body)
    assert reply.json() == {"recorded": 1}
    for worker in service.workers():
        worker.send_signal(signal.SIGKILL)
    service.stop(signal.SIGKILL)
    assert Lake(str(service.folder / "home" / "lake")).scan(CONSENTS)["user_id"].to_pylist() == ["a" * 32]
    service.start()
    wait_until("each process honours it", lambda: withdrawn(service, **anna), timeout=DEADLINE)
    service.client.post("/v1/consent", json={**body, "granted": True})
    wait_until("each process honours the new decision", lambda: personal(service, **anna), timeout=DEADLINE)


def test_a_decision_of_another_program_is_honoured_by_all(service):
    ben = "b" * 32
    wait_until("both processes know the table", lambda: personal(service, pseudonym=ben), timeout=DEADLINE)
    lake = Lake(str(service.folder / "home" / "lake"))
    record(lake, [Decision(ben, None, "personalization", False, datetime.now(UTC), "request")], 1)
    wait_until("each process honours it", lambda: withdrawn(service, pseudonym=ben), timeout=DEADLINE)
    metrics = service.client.get("/metrics").text
    assert 'lastaisle_serve_not_personalized_total{reason="withdrawn"}' in metrics
    assert "lastaisle_serve_consents_age_seconds" in metrics
    assert ben not in metrics + service.log.read_text()
