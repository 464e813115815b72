"""The shadow of a service as it runs in earnest: processes, MLflow and the lake."""

from __future__ import annotations

import signal
from datetime import UTC, datetime
from typing import Any

import psutil
import pytest

from lastaisle.experiments.traffic import Arm, TrafficMove, Trial, read_traffic, write_move
from lastaisle.feedback.health import read_health
from lastaisle.lake import Lake
from tests.serve.mlflow_store import Store
from tests.serve.running import Running
from tests.services.waiting import wait_until

pytestmark = [pytest.mark.training, pytest.mark.service]


@pytest.fixture
def service(tmp_path):
    store = Store(tmp_path / "home")
    champion, challenger = store.add("b"), store.add("c")
    store.promote(champion)
    move(Lake(tmp_path / "home" / "lake"), challenger, "running")
    running = Running(
        tmp_path, LASTAISLE_SERVE_HEALTH_SECONDS="0.3", LASTAISLE_SERVE_TRAFFIC_POLL_SECONDS="0.2"
    )
    yield running.start()
    running.stop()


def move(lake: Lake, version: str, state: Any) -> None:
    now = datetime.now(UTC)
    arms = (Arm(name="shadow", version=version),)
    trial = Trial(name=f"shadow-{version}", kind="shadow", arms=arms, starts_at=now)
    assert write_move(
        lake, TrafficMove(now.isoformat(), now, state, trial, "a test", "a test"), read_traffic(lake)
    )


def test_the_shadow_scores_unseen_is_counted_and_leaves_with_its_trial_and_with_the_service(service):
    lake = Lake(service.folder / "home" / "lake")

    def shadow() -> dict[str, Any]:
        rows = read_health(lake, by=("model_version", "role", "experiment")).to_pylist()
        return next((row for row in rows if row["role"] == "shadow"), {"requests": 0})

    def is_scored() -> bool:
        answer = service.ask("a", k=1)
        assert (answer["version"], answer["items"][0]["id"]) == ("1", "b")
        return shadow()["requests"] >= 3

    wait_until("the shadow is counted", is_scored, timeout=60, pause=0.1)
    assert (shadow()["model_version"], shadow()["experiment"], shadow()["errors"]) == ("2", "shadow-2", 0)
    assert shadow()["overlap"] == 0.0, "c against b"
    problems = service.client.get("/v1/model").json()["problems"]
    assert [problem for problem in problems if "pseudonym key" not in problem] == []
    [process] = service.workers()
    assert process.nice() > psutil.Process(service.process.pid).nice()

    move(lake, "2", "stopped")
    wait_until("the process ends with the shadow", lambda: service.workers() == [], timeout=20)
    counted = shadow()["requests"]
    service.ask("a", k=1)
    move(lake, "2", "running")
    wait_until("it runs again", lambda: service.ask("a", k=1) and service.workers(), timeout=20)
    assert shadow()["requests"] == counted
    [process] = service.workers()
    service.stop(signal.SIGKILL)
    process.wait(20)
