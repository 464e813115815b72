"""Is one hour of events enough for a training? Frozen, scratch and incremental, in a shop without change.

    python benchmarks/hourly.py [--set NAME=VALUE] [--hours 6] [--events 50000] [--chart FILE.png]

A simulated day on which nothing changes: there is nothing new to learn. So this shows how much a warm start
loses by the noise of a single hour. Each hour trains, and the next hour tests. Takes two minutes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from datetime import timedelta
from pathlib import Path

from rich.console import Console

from incremental import STRATEGIES, compare_strategies
from ingestion.simulated_hours import ingest_hours, write_hours
from lastaisle.cli.terminal import read_values
from lastaisle.lake import Lake
from lastaisle.privacy.keys import PseudonymKeys
from lastaisle.replay.chart import draw, tabulate
from lastaisle.replay.replay import Period, replay
from lastaisle.sessions.windows import sessions_between
from models.options import TrainingOptions


def simulated(events: int, hours: int) -> list[Period]:
    """Simulate and ingest the hours of a day up to the busiest one."""
    with tempfile.TemporaryDirectory(prefix="lastaisle-hourly-") as folder:
        lake = Lake(str(Path(folder) / "lake"))
        keys = PseudonymKeys.load_or_create(Path(folder) / "keys.json")
        starts = ingest_hours(write_hours(Path(folder), events, hours - 1), lake, keys)
        return [
            Period(f"{start:%H:00}", sessions_between(lake, start, start + timedelta(hours=1)))
            for start in starts
        ]


def main() -> None:
    """Replay the hours, and print a line of JSON and a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hours", type=int, default=6)
    parser.add_argument(
        "--events", type=int, default=50_000, help="rows of the last hour, which is the busiest"
    )
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a hyperparameter")
    parser.add_argument("--chart", type=Path, help="a PNG file for the chart")
    given = parser.parse_args()
    changed = read_values(given.set)
    options = TrainingOptions.from_dict({**TrainingOptions().to_dict(), **changed})
    report = replay(simulated(given.events, given.hours), STRATEGIES, options=options)
    print(json.dumps({"log": "simulated hours", **changed, **compare_strategies(report)}), flush=True)
    Console().print(tabulate(report))
    if given.chart:
        draw(report, given.chart)


if __name__ == "__main__":
    main()
