"""What befalls a task while it holds at a boundary, and who puts it right afterwards."""

from __future__ import annotations

import os
import resource
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from tests.faults.work import Task
from tests.faults.worlds import World

#: Takes a world and its task, which holds; returns when the task has ended and the fault is over.
Fault: TypeAlias = Callable[[World, Task], None]

DISK_BYTES = 16 << 20


def kill_task(world: World, task: Task) -> None:
    """SIGKILL to the task."""
    task.kill()


def kill_broker(world: World, task: Task) -> None:
    """SIGKILL to the broker, which comes back while the task goes on as well as it can."""
    assert world.broker is not None
    world.broker.kill()
    task.go()
    world.broker.start()
    task.join()


def fill_disk(world: World, task: Task) -> None:
    """No byte more fits on the lake's disk; or, where none can be mounted, into any file of the task."""
    if world.disk is None:
        resource.prlimit(task.process.pid or 0, resource.RLIMIT_FSIZE, (0, 0))
        _expect_refusal(world, task)
        return
    filler = world.disk / f"filler-{os.getpid()}"
    try:
        _fill(filler)
        _expect_refusal(world, task)
    finally:
        filler.unlink()


def lose_permission(world: World, task: Task) -> None:
    """Nobody may write into the lake any more."""
    folders = [folder for folder, _, _ in os.walk(world.lake.url)]
    modes = {folder: Path(folder).stat().st_mode & 0o777 for folder in folders}
    try:
        for folder in folders:
            Path(folder).chmod(0o555)
        _expect_refusal(world, task)
    finally:
        for folder, mode in modes.items():
            Path(folder).chmod(mode)


def run_twice(world: World, task: Task) -> None:
    """Another run does the same work, and what came meanwhile, from beginning to end; then this one goes on."""
    world.send(world.late)
    world.work.run()
    task.go()
    assert task.join() == 0, f"the overtaken run failed: {task.said()}"


def run_apart(world: World, task: Task) -> None:
    """Another run that had planned other ranges before comes to its end; then this one goes on."""
    assert world.rival is not None
    for one in (world.rival, task):
        one.go()
        assert one.join() == 0, f"one of two runs failed: {one.said()}"


def deliver_twice(world: World, task: Task) -> None:
    """The task dies, and every message comes again, to its own partition and to the other one."""
    task.kill()
    for _ in range(2):  # a partition is drawn at random
        world.send(world.messages)


def deliver_reordered(world: World, task: Task) -> None:
    """The task dies, and what should have come before comes now, in no order at all."""
    task.kill()
    world.send(world.late)


def _expect_refusal(world: World, task: Task) -> None:
    """Let the task go on: it has to fail, without a commit."""
    tables = ("raw_events", "quarantine", "batches", "events")
    before = world.lake.versions(tables)
    task.go()
    code = task.join()
    assert code == 1, f"the task ended with {code}, where it should have failed: {task.said()}"
    assert world.lake.versions(tables) == before, "something was committed all the same"


def _fill(filler: Path) -> None:
    with filler.open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(bytes(4096))
        except OSError:
            pass  # no space left on device: that is what it is for


@contextmanager
def small_disk() -> Iterator[Path | None]:
    """Mount a disk of a few megabytes, and give its folder; None where that is not allowed."""
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
