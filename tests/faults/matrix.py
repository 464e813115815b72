"""Every fault at every boundary: `python -m tests.faults.matrix` prints the counts of all rows.

The task works on one batch when it reaches the boundary. The fault happens there. The task runs again if it
died, and then every row that was sent must be accounted for in every table.
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
from tests.faults.scenarios import FilesScenario, KafkaScenario, Scenario, ShardsScenario
from tests.faults.work import Task
from tests.services.kafka import Broker

_WIDTH = 28


@dataclass(frozen=True)
class Row:
    """One fault of one kind of task.

    Attributes:
        name: name of the row in the printed matrix.
        world: the kind of scenario that the task works on.
        fault: the fault that happens at the boundary.
        turn: number of the batch at which the fault happens, from 1.
    """

    name: str
    scenario: type[Scenario]
    fault: Fault
    turn: int = 1

    def run(self, boundary: str, broker: Broker | None = None) -> Counts:
        """Let the fault happen at a boundary, and account for every row.

        Raises:
            AssertionError: a row was lost or is there twice, or the task did not behave as expected.
        """
        with ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="lastaisle-faults-"))
            Path(folder).chmod(0o755)
            disk = stack.enter_context(small_disk()) if self.fault is faults.fill_disk else None
            scenario = self.scenario(Path(folder), len(boundary), broker, disk)
            Path(folder, "task.log").touch(0o666)
            if self.fault is faults.run_apart:
                scenario.rival = Task(scenario.other_work, Path(folder, "rival.log"), "judged")
                stack.callback(scenario.rival.kill)
                scenario.rival.await_hold()
            task = Task(
                scenario.work,
                Path(folder, "task.log"),
                boundary,
                self.turn,
                unprivileged=self.fault is faults.lose_permission,
            )
            try:
                task.await_hold()
                self.fault(scenario, task)
            finally:
                task.kill()
            scenario.work.run()
            return scenario.reconcile()


ROWS = (
    Row("kill -9 of the task", KafkaScenario, faults.kill_task),
    Row("kill -9 of the task, files", FilesScenario, faults.kill_task),
    Row("kill -9 of the task, shards", ShardsScenario, faults.kill_task),
    Row("kill -9 of the broker", KafkaScenario, faults.kill_broker, turn=2),
    Row("disk full", KafkaScenario, faults.fill_disk),
    Row("disk full, files", FilesScenario, faults.fill_disk),
    Row("permission lost", KafkaScenario, faults.lose_permission),
    Row("two runs at once", KafkaScenario, faults.run_twice),
    Row("two runs, other ranges", KafkaScenario, faults.run_apart),
    Row("two runs at once, files", FilesScenario, faults.run_twice),
    Row("two runs at once, shards", ShardsScenario, faults.run_twice),
    Row("kill -9, all comes twice", KafkaScenario, faults.deliver_twice, turn=2),
    Row("kill -9, the rest comes late", KafkaScenario, faults.deliver_reordered, turn=2),
)


def cells(*, kafka: bool) -> Iterator[tuple[Row, str]]:
    """Return each row with each of its boundaries, for the tasks that read Kafka or for the others."""
    for row in ROWS:
        if (row.scenario is KafkaScenario) == kafka:
            for boundary in row.scenario.boundaries:
                yield row, boundary


@contextmanager
def running_broker() -> Iterator[Broker]:
    """Run a broker during a block."""
    with tempfile.TemporaryDirectory(prefix="lastaisle-kafka-") as folder:
        broker = Broker(Path(folder), short_lived=True).start()
        try:
            yield broker
        finally:
            broker.kill()


def main() -> int:
    """Run all cells and print them row by row; return 1 if a row was lost or is there twice."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    started = time.monotonic()
    legend = " · ".join(f"{number} {name}" for number, name in enumerate(BOUNDARIES, 1))
    numbers = " ".join(f"{number:>2}" for number in range(1, len(BOUNDARIES) + 1))
    print_line = Console(highlight=False, soft_wrap=True).print
    print_line(f"The fault strikes at: {legend}\n")
    print_line(f"{'':{_WIDTH}} {numbers}   rows sent = clean + quarantined + duplicate")
    with running_broker() as broker, ThreadPoolExecutor(2) as lanes:
        results = [lanes.submit(_print_rows, kafka, broker, print_line) for kafka in (True, False)]
        failures = [failure for lane in results for failure in lane.result()]
    print_line(f"\n{time.monotonic() - started:.0f} s")
    for failure in failures:
        print_line(failure, markup=False)
    return 1 if failures else 0


def _print_rows(kafka: bool, broker: Broker, print_line: Callable[..., None]) -> list[str]:
    """Run and print the rows that read Kafka, or the other rows; return the failures."""
    failures: list[str] = []
    for row in ROWS:
        if (row.scenario is KafkaScenario) != kafka:
            continue
        marks, total = [], Counts()
        for boundary in BOUNDARIES:
            mark = " "
            if boundary in row.scenario.boundaries:
                try:
                    total += row.run(boundary, broker)
                    mark = "✓"
                except (AssertionError, LastaisleError) as error:
                    mark = "✗"
                    failures.append(f"{row.name}, {boundary}: {error}")
            marks.append(f"{mark:>2}")
        print_line(f"{row.name:{_WIDTH}} {' '.join(marks)}   {total}", markup=False)
    return failures


if __name__ == "__main__":
    raise SystemExit(main())
