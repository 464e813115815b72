"""The faults that hit a task while it holds at a boundary, and the repairs afterwards."""

from __future__ import annotations

import os
import resource
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from tests.faults.scenarios import Scenario
from tests.faults.work import Task

#: A function of a scenario and its task, which holds. It returns when task and fault are over.
Fault: TypeAlias = Callable[[Scenario, Task], None]

DISK_BYTES = 16 << 20


def kill_task(scenario: Scenario, task: Task) -> None:
    """Kill the task with SIGKILL."""
    task.kill()


def kill_broker(scenario: Scenario, task: Task) -> None:
    """Kill the broker with SIGKILL, let the task go on, and start the broker again."""
    assert scenario.broker is not None
    scenario.broker.kill()
    task.release()
    scenario.broker.start()
    task.join()


def fill_disk(scenario: Scenario, task: Task) -> None:
    """Fill the lake's disk; if no disk can be mounted, limit the task's files to no byte more."""
    if scenario.disk is None:
        resource.prlimit(task.process.pid or 0, resource.RLIMIT_FSIZE, (0, 0))
        _expect_refusal(scenario, task)
        return
    filler = scenario.disk / f"filler-{os.getpid()}"
    try:
        _fill(filler)
        _expect_refusal(scenario, task)
    finally:
        filler.unlink()


def lose_permission(scenario: Scenario, task: Task) -> None:
    """Take the permission to write into the lake."""
    folders = [folder for folder, _, _ in os.walk(scenario.lake.url)]
    modes = {folder: Path(folder).stat().st_mode & 0o777 for folder in folders}
    try:
        for folder in folders:
            Path(folder).chmod(0o555)
        _expect_refusal(scenario, task)
    finally:
        for folder, mode in modes.items():
            Path(folder).chmod(mode)


def run_twice(scenario: Scenario, task: Task) -> None:
    """Let another run do the same work and later messages to the end; then let this run go on."""
    scenario.send(scenario.late)
    scenario.work.run()
    task.release()
    assert task.join() == 0, f"the overtaken run failed: {task.error_tail()}"


def run_apart(scenario: Scenario, task: Task) -> None:
    """Let a run that planned other ranges earlier come to its end; then let this run go on."""
    assert scenario.rival is not None
    for run in (scenario.rival, task):
        run.release()
        assert run.join() == 0, f"one of two runs failed: {run.error_tail()}"


def deliver_twice(scenario: Scenario, task: Task) -> None:
    """Kill the task, and send every message again, to its own partition and to the other partition."""
    task.kill()
    for _ in range(2):  # a partition is drawn at random
        scenario.send(scenario.messages)


def deliver_reordered(scenario: Scenario, task: Task) -> None:
    """Kill the task, and send the earlier messages only now, in a random order."""
    task.kill()
    scenario.send(scenario.late)


def _expect_refusal(scenario: Scenario, task: Task) -> None:
    """Let the task go on: it must fail without a commit."""
    tables = ("raw_events", "quarantine", "batches", "events")
    before = scenario.lake.versions(tables)
    task.release()
    code = task.join()
    assert code == 1, f"the task ended with {code}, and should have failed: {task.error_tail()}"
    assert scenario.lake.versions(tables) == before, "the task committed something in spite of the fault"


def _fill(filler: Path) -> None:
    with filler.open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(bytes(4096))
        except OSError:
            pass  # no space left on device: this is the aim


@contextmanager
def small_disk() -> Iterator[Path | None]:
    """Mount a disk of a few megabytes, and yield its folder; yield None if mounting is not allowed."""
    with tempfile.TemporaryDirectory(prefix="lastaisle-disk-") as folder:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", folder]
        try:
            mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
        except FileNotFoundError:
            mounted = False
        try:
            yield Path(folder) if mounted else None
        finally:
            if mounted:
                subprocess.run(["umount", folder], check=True)
