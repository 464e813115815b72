"""Is daily training worth its cost? Frozen, from scratch, incremental, online, and an ensemble.

    python benchmarks/replay.py [--simulated DAYS] [--chart FILE] [--report FILE]

Replays a real week, day by day: about three minutes on two cores. The data are not in the project:
LASTAISLE_DATA names their folder. With --simulated 60 it replays 60 days of a shop with seasons, a launch of
many items, a price shock and a break of tastes, two days a period: about ten minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from datetime import date
from pathlib import Path

from rich.console import Console

from lastaisle.replay.chart import draw, tabulate
from lastaisle.replay.replay import Period, read_periods, replay
from lastaisle.simulate import ShopOptions, write_logs
from lastaisle.simulate.breaks import break_days
from models.data.sequences import SessionLog
from models.options import TrainingOptions

START = date(2025, 9, 15)  # before winter, because the seasons change most then
SESSIONS, ITEMS = 300, 600
DAYS_A_PERIOD = 2
SMALL = TrainingOptions(embedding_size=32)  # a small model for a small shop


def simulated(days: int) -> list[Period]:
    """Simulate a shop with breaks, ingest its logs, and return periods of two days, named by the first."""
    shop = ShopOptions(
        start=START, days=days, sessions_per_day=SESSIONS, items=ITEMS, new_items_per_day=4, eventful=True
    )
    with tempfile.TemporaryDirectory(prefix="lastaisle-replay-") as folder:
        write_logs(folder, shop)
        single = read_periods("canonical", folder)
    parts = [single[at : at + DAYS_A_PERIOD] for at in range(0, len(single), DAYS_A_PERIOD)]
    return [Period(part[0].label, SessionLog.concat([one.log for one in part])) for part in parts]


def main() -> None:
    """Replay, and print the summary and the ratios of incremental training to training from scratch."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--simulated", type=int, metavar="DAYS", help="replay a simulated shop")
    parser.add_argument("--chart", type=Path, help="a PNG file")
    parser.add_argument("--report", type=Path, help="a JSON file")
    given = parser.parse_args()
    if given.simulated:
        report = replay(simulated(given.simulated), options=SMALL)
    else:
        source = Path(os.environ.get("LASTAISLE_DATA", "../shared/data")) / "yoochoose-week.tsv"
        if not source.is_file():
            print(f"skipped: no file {source}; set LASTAISLE_DATA", file=sys.stderr)
            return
        report = replay(read_periods("yoochoose", str(source)))
    summary = report["summary"]
    ratios = {
        name: round(summary["incremental"][name] / summary["scratch"][name], 3)
        for name in ("recall@20", "train_seconds")
    }
    found = {"benchmark": "replay", "periods": len(report["periods"]), "summary": summary}
    breaks = break_days(given.simulated) if given.simulated else {}
    # The first period only trains.
    marks = {day // DAYS_A_PERIOD - 1: name.replace("_", " ") for name, day in breaks.items()}
    print(json.dumps({**found, "breaks": breaks, "incremental_to_scratch": ratios}))
    Console().print(tabulate(report))
    if given.report:
        given.report.write_text(json.dumps(report))
    if given.chart:
        draw(report, given.chart, marks)


if __name__ == "__main__":
    main()
