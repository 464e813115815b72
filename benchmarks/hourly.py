"""Is an hour enough to learn from? Frozen, from scratch and incremental, in a shop that stays as it is.

    python benchmarks/hourly.py [--set NAME=VALUE] [--hours 6] [--events 50000] [--chart FILE.png]

A simulated day without any break: nothing is to be learned but more of the same, so this shows what the noise
of a single hour costs a warm start. Each hour is learned and the next one tests. Takes two minutes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

from rich.console import Console

from incremental import STRATEGIES, judged
from landing_to_gate import hours_of_events
from lastaisle.cli.terminal import read_values
from lastaisle.ingest.run import ingest
from lastaisle.lake import Lake
from lastaisle.privacy.keys import PseudonymKeys
from lastaisle.replay.chart import draw, tabulate
from lastaisle.replay.replay import Period, replay
from lastaisle.sessions.windows import sessions_between
from models.options import TrainingOptions


def simulated(events: int, hours: int) -> list[Period]:
    """Simulate the hours up to the busiest one of a day, and take their logs in."""
    with tempfile.TemporaryDirectory(prefix="lastaisle-hourly-") as folder:
        lake = Lake(str(Path(folder) / "lake"))
        keys = PseudonymKeys.load_or_create(Path(folder) / "keys.json")
        files = hours_of_events(Path(folder), events, hours - 1)
        for file in files.values():
            ingest(str(file), "canonical", lake, keys)
        starts = {key: datetime.fromisoformat(f"{key}:00:00+00:00") for key in files}
        return [
            Period(f"{start:%H:00}", sessions_between(lake, start, start + timedelta(hours=1)))
            for start in starts.values()
        ]


def main() -> None:
    """Replay the hours, and print a line of JSON and a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hours", type=int, default=6)
    parser.add_argument("--events", type=int, default=50_000, help="of the busiest hour, the last")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a hyperparameter")
    parser.add_argument("--chart", type=Path, help="write a chart there")
    given = parser.parse_args()
    changed = read_values(given.set)
    options = TrainingOptions.from_dict({**TrainingOptions().to_dict(), **changed})
    report = replay(simulated(given.events, given.hours), STRATEGIES, options=options)
    print(json.dumps({"log": "simulated hours", **changed, **judged(report)}), flush=True)
    Console().print(tabulate(report))
    if given.chart:
        draw(report, given.chart)


if __name__ == "__main__":
    main()
