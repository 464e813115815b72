"""The versions of arms come from a real MLflow, beside the champion, and end with their trials."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from lastaisle.experiments.traffic import Arm, TrafficMove, read_traffic, write_move
from lastaisle.lake import Lake
from lastaisle.serve.following.served import Follower
from lastaisle.serve.trials.versions import ArmVersions
from tests.serve.mlflow_store import Store
from tests.serve.running import Running
from tests.serve.running_trials import experiment
from tests.serve.toys import KEY
from tests.services.waiting import wait_until

pytestmark = pytest.mark.training
UNITS = [f"{number:032x}" for number in range(12)]
TRIAL = experiment("demo", Arm(name="control"), Arm(name="new", version="2"))


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    store = Store(tmp_path_factory.mktemp("shop") / "home")
    assert [store.add("first"), store.add("second")] == ["1", "2"]
    store.promote("1")
    return store


@contextmanager
def mlflow_away(store: Store) -> Iterator[None]:
    """Take MLflow's database away for a block."""
    database = Path(store.settings.registry.mlflow_uri.removeprefix("sqlite:///"))
    away = database.with_suffix(".away")
    database.rename(away)
    try:
        yield
    finally:
        away.rename(database)


@pytest.fixture
def make_arms(store, tmp_path):
    made: list[ArmVersions] = []

    def make(prepare=lambda _: None, **changes) -> ArmVersions:
        settings = store.settings.replace(serve_cache=str(tmp_path), **changes)
        arms = ArmVersions(settings, prepare)
        made.append(arms)
        arms.start()
        return arms

    yield make
    for arms in made:
        arms.stop()


def test_a_version_is_loaded_by_its_number_and_comes_from_the_cache_while_mlflow_is_away(
    store, make_arms, tmp_path
):
    arms, loaded = make_arms(), []
    arms.add_listener(lambda: loaded.append("loaded"))
    assert arms.want(["2", "2"], None) == []
    wait_until("version 2 is loaded", lambda: loaded)
    assert arms.get("2").model.recommend(["a"], k=1, exclude_seen=True)[0] == ["second"]
    assert (arms.get("2").version, arms.get("2").alias) == ("2", "")
    with mlflow_away(store):
        again = make_arms()
        again.want(["2", "1"], None)
        wait_until("version 2 is loaded", lambda: again.get("2"))
        wait_until("version 1 is missing", lambda: "does not exist" in str(again.problems))
    arms.want([], None)
    wait_until("the note is removed", lambda: not list((tmp_path / "following").iterdir()))
    assert arms.get("2") is None


def test_a_version_that_cannot_be_had_is_named_and_tried_again(store, make_arms):
    refused = [RuntimeError("it does not fit")]

    def prepare(_) -> None:
        if refused:
            raise refused.pop()

    arms = make_arms(prepare)
    arms.want(["99", "2"], None)
    wait_until("both are named", lambda: len(arms.problems) == 2 or arms.get("2"))
    wait_until("version 2 is tried again", lambda: arms.get("2"))
    assert "has no version 99" in str(arms.problems)
    arms.want(["2"], None)
    assert arms.problems == []


def test_no_more_versions_are_loaded_than_the_setting_allows(store, make_arms):
    arms = make_arms(serve_trial_versions=1)
    follower = Follower(store.settings.replace(serve_cache=str(store.home / "cache")))
    follower.start()
    wait_until("the champion serves", lambda: follower.current)
    follower.stop()
    champion = follower.current
    assert arms.want(["1", "2", "3"], champion) == ["3"], "the champion's version needs no room"
    assert arms.get("1") is champion
    wait_until("version 2 is loaded", lambda: arms.get("2"))


@pytest.mark.service
def test_workers_take_part_within_the_poll_and_stop_within_the_poll_and_start_without_lake_and_mlflow(store):
    folder = store.home.parent
    lake = Lake(store.settings.lake.url)
    service = Running(folder, "--workers", "2")
    service.start()
    try:
        seconds = [move_until(service, lake, state) for state in ("running", "stopped", "running")]
        assert seconds[1] < 5, "the kill switch"
        service.stop()
        Path(lake.url).rename(folder / "lake is away")
        with mlflow_away(store):
            service.start()
            wait_until("the kept trial runs", lambda: labels(service) == {"demo"}, timeout=30)
    finally:
        service.stop()


def move_until(service: Running, lake: Lake, state: str) -> float:
    """Write a move; return after how many seconds all workers act on it."""
    log = read_traffic(lake)
    move = TrafficMove(f"{state} {log.version}", datetime.now(UTC), state, TRIAL, "a reason", "tests")
    write_move(lake, move, log)
    began = time.monotonic()
    wanted = {"demo"} if state == "running" else {None}
    wait_until(f"the trial is {state}", lambda: labels(service) == wanted, timeout=30, pause=0.05)
    return time.monotonic() - began


def labels(service: Running) -> set[str | None]:
    """Return the trials of lists, asked on connections of their own, so that both workers answer."""
    found, versions = set(), Counter()
    for unit in UNITS:
        body = json.dumps({"items": ["a"], "pseudonym": unit}).encode()
        headers = {"Authorization": f"Bearer {KEY}"}
        answer = httpx.post(f"{service.url}/v1/recommendations", content=body, headers=headers)
        if answer.status_code == 503:  # the other worker is not ready yet, or busy
            found.add("unready")
            continue
        reply = answer.json()
        found.add(reply.get("experiment"))
        versions[reply["version"], reply.get("arm")] += 1
    assert set(versions) <= {("1", None), ("1", "control"), ("2", "new")}
    return found
