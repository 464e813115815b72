"""One process at a time trains a candidate; a run whose process died is repeated, a live run is kept."""

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lastaisle.registry import lease
from lastaisle.registry.errors import BeingTrainedError
from lastaisle.registry.lease import ALIVE_AT, TRAINER, is_alive, lease_tags
from lastaisle.registry.registry import Registry
from lastaisle.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import sys, time
from lastaisle.registry.registry import Registry
from lastaisle.settings import Settings
with Registry(Settings.of(home=sys.argv[1])).training_run("full-1", {}) as run_id:
    print(run_id, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def registry(home):
    return home.registry


def statuses(registry):
    return [run.status for run in registry.find_runs({"run_key": "full-1"})]


def held_by_another_process(home):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(home.settings.home)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    return process, process.stdout.readline().strip()


def test_a_live_run_is_not_deleted_and_a_killed_run_is_repeated_at_once(home, registry):
    process, run_id = held_by_another_process(home)
    try:
        with (
            pytest.raises(BeingTrainedError, match=rf"since 20.*process {process.pid} on .*{run_id}"),
            registry.training_run("full-1", {}),
        ):
            pytest.fail("a second trainer began")
        assert statuses(registry) == ["RUNNING"]
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    with registry.training_run("full-1", {}) as again:
        assert again != run_id
    assert statuses(registry) == ["FINISHED"]


def test_of_two_runs_that_begin_at_once_the_first_goes_on_and_the_second_leaves_no_trace(
    registry, monkeypatch
):
    began = registry.begin_run("full-1", {"run_key": "full-1", **lease_tags()})
    monkeypatch.setattr(
        registry, "_discard_unfinished", lambda run_key: None
    )  # both looked before either began
    with pytest.raises(BeingTrainedError, match=began), registry.training_run("full-1", {}):
        pytest.fail("a second trainer began")
    assert [run.run_id for run in registry.find_runs({"run_key": "full-1"})] == [began]


def test_a_run_on_another_machine_lives_as_long_as_its_lease(monkeypatch):
    tags = lease_tags()
    assert is_alive(tags)
    elsewhere = {**tags, TRAINER: tags[TRAINER].replace(lease._machine(), "another machine")}
    assert is_alive(elsewhere)
    stale = (datetime.now(UTC) - lease.LEASE - timedelta(seconds=1)).isoformat()
    assert not is_alive({**elsewhere, ALIVE_AT: stale})
    assert not is_alive({**tags, ALIVE_AT: stale})


def test_a_run_is_dead_if_its_process_is_gone_or_another_process_has_its_number():
    tags = lease_tags()
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert not is_alive(
        {**tags, TRAINER: tags[TRAINER].replace(f'"pid": {os.getpid()}', f'"pid": {child.pid}')}
    )
    assert not is_alive({**tags, TRAINER: tags[TRAINER].replace('"started": 1', '"started": 2')})


def test_a_zombie_is_dead():
    child = subprocess.Popen([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"])
    started = lease.psutil.Process(child.pid).create_time()
    deadline = time.monotonic() + 30
    while lease._runs_here(child.pid, started) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not lease._runs_here(child.pid, started)
    child.wait()


def test_a_run_of_an_earlier_release_names_no_process_and_is_repeated(registry):
    registry.begin_run("full-1", {"run_key": "full-1"})
    with registry.training_run("full-1", {}):
        pass
    assert statuses(registry) == ["FINISHED"]


def test_the_lease_is_renewed_while_the_run_goes_on(registry, monkeypatch):
    monkeypatch.setattr(lease, "RENEWED_EVERY", timedelta(seconds=0.05))
    with registry.training_run("full-1", {}) as run_id:
        first = registry.tags(run_id)[ALIVE_AT]
        deadline = time.monotonic() + 30
        while registry.tags(run_id)[ALIVE_AT] == first and time.monotonic() < deadline:
            time.sleep(0.05)
        assert registry.tags(run_id)[ALIVE_AT] > first


def test_a_failed_run_is_repeated(registry):
    with pytest.raises(ValueError, match="broken"), registry.training_run("full-1", {}):
        raise ValueError("broken")
    with registry.training_run("full-1", {}):
        assert statuses(registry) == ["RUNNING"]


def test_two_replays_may_run_at_once(home, registry):
    other = Registry(Settings.of(home=home.settings.home))
    first = other.begin_run("replay", {})
    with registry.run("replay", {}) as second:
        assert first != second
