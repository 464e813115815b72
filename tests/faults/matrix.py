"""Every fault at every boundary: `python -m tests.faults.matrix` prints what became of the rows.

The task works on one batch when it gets to the boundary. The fault strikes there, the task runs again if it
did not survive, and then every row that was sent has to be accounted for in every table.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from lastaisle.errors import LastaisleError
from tests.faults import faults
from tests.faults.boundaries import BOUNDARIES
from tests.faults.faults import Fault, small_disk
from tests.faults.reconcile import Counts
from tests.faults.work import Task
from tests.faults.worlds import FilesWorld, KafkaWorld, ShardsWorld, World
from tests.services.kafka import Broker

_WIDTH = 28


@dataclass(frozen=True)
class Row:
    """One fault that may befall one kind of task.

    Attributes:
        name: as the matrix prints it.
        world: what the task works on.
        fault: what happens at the boundary.
        turn: at which batch.
    """

    name: str
    world: type[World]
    fault: Fault
    turn: int = 1

    def run(self, boundary: str, broker: Broker | None = None) -> Counts:
        """Let the fault strike at a boundary, and account for every row.

        Raises:
            AssertionError: something was lost, or is there twice, or the task did not behave.
        """
        with ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="lastaisle-faults-"))
            Path(folder).chmod(0o755)
            disk = stack.enter_context(small_disk()) if self.fault is faults.fill_disk else None
            world = self.world(Path(folder), len(boundary), broker, disk)
            Path(folder, "task.log").touch(0o666)
            if self.fault is faults.run_apart:
                world.rival = Task(world.other_work, Path(folder, "rival.log"), "judged")
                stack.callback(world.rival.kill)
                world.rival.await_hold()
            task = Task(
                world.work,
                Path(folder, "task.log"),
                boundary,
                self.turn,
                unprivileged=self.fault is faults.lose_permission,
            )
            try:
                task.await_hold()
                self.fault(world, task)
            finally:
                task.kill()
            world.work.run()
            return world.reconcile()


ROWS = (
    Row("kill -9 of the task", KafkaWorld, faults.kill_task),
    Row("kill -9 of the task, files", FilesWorld, faults.kill_task),
    Row("kill -9 of the task, shards", ShardsWorld, faults.kill_task),
    Row("kill -9 of the broker", KafkaWorld, faults.kill_broker, turn=2),
    Row("disk full", KafkaWorld, faults.fill_disk),
    Row("disk full, files", FilesWorld, faults.fill_disk),
    Row("permission lost", KafkaWorld, faults.lose_permission),
    Row("two runs at once", KafkaWorld, faults.run_twice),
    Row("two runs, other ranges", KafkaWorld, faults.run_apart),
    Row("two runs at once, files", FilesWorld, faults.run_twice),
    Row("two runs at once, shards", ShardsWorld, faults.run_twice),
    Row("kill -9, all comes twice", KafkaWorld, faults.deliver_twice, turn=2),
    Row("kill -9, the rest comes late", KafkaWorld, faults.deliver_reordered, turn=2),
)


def cells(*, kafka: bool) -> Iterator[tuple[Row, str]]:
    """Give every row with each of its boundaries, of the tasks that read Kafka or of the others."""
    for row in ROWS:
        if (row.world is KafkaWorld) == kafka:
            for boundary in row.world.boundaries:
                yield row, boundary


@contextmanager
def running_broker() -> Iterator[Broker]:
    """Run a broker for as long as it is needed."""
    with tempfile.TemporaryDirectory(prefix="lastaisle-kafka-") as folder:
        broker = Broker(Path(folder), short_lived=True).start()
        try:
            yield broker
        finally:
            broker.kill()


def main() -> int:
    """Run all cells and print them row by row; return 1 if anything was lost or is there twice."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    started = time.monotonic()
    legend = " · ".join(f"{number} {name}" for number, name in enumerate(BOUNDARIES, 1))
    numbers = " ".join(f"{number:>2}" for number in range(1, len(BOUNDARIES) + 1))
    say = Console(highlight=False, soft_wrap=True).print
    say(f"The fault strikes at: {legend}\n")
    say(f"{'':{_WIDTH}} {numbers}   rows sent = clean + quarantined + duplicate")
    with running_broker() as broker, ThreadPoolExecutor(2) as lanes:
        told = [lanes.submit(_print_rows, kafka, broker, say) for kafka in (True, False)]
        failures = [failure for lane in told for failure in lane.result()]
    say(f"\n{time.monotonic() - started:.0f} s")
    for failure in failures:
        say(failure, markup=False)
    return 1 if failures else 0


def _print_rows(kafka: bool, broker: Broker, say: Callable[..., None]) -> list[str]:
    """Run the rows that read Kafka, or the others, and print each; return what went wrong."""
    failures: list[str] = []
    for row in ROWS:
        if (row.world is KafkaWorld) != kafka:
            continue
        marks, total = [], Counts()
        for boundary in BOUNDARIES:
            mark = " "
            if boundary in row.world.boundaries:
                try:
                    total += row.run(boundary, broker)
                    mark = "✓"
                except (AssertionError, LastaisleError) as error:
                    mark = "✗"
                    failures.append(f"{row.name}, {boundary}: {error}")
            marks.append(f"{mark:>2}")
        say(f"{row.name:{_WIDTH}} {' '.join(marks)}   {total}", markup=False)
    return failures


if __name__ == "__main__":
    raise SystemExit(main())
