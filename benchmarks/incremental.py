"""Is a warm start worth its cost? Frozen, from scratch and incremental, period by period, on two real logs.

    python benchmarks/incremental.py [--chart FILE.png] [yoochoose-week] [diginetica]

yoochoose-week is cut into days. The train part of diginetica, in order of time, is cut into ten parts. Each
period trains, and the next period tests. The ratios leave out the first training, which all strategies share.
All trainings run in one process, and the first warm start of a process takes about a second more. The data
are not in the project: LASTAISLE_DATA names their folder. The week takes four minutes. diginetica takes half
an hour, because its trainings from scratch grow with the periods.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from lastaisle.replay.chart import draw, tabulate
from lastaisle.replay.replay import read_periods, replay

LOGS = {
    "yoochoose-week": ("yoochoose", "yoochoose-week.tsv"),
    "diginetica": ("sessions", "diginetica/train_sessions.txt"),
}
STRATEGIES = ("frozen", "scratch", "incremental")


def compare_strategies(report: dict[str, Any]) -> dict[str, Any]:
    """Compare incremental with scratch in recall and seconds, and with frozen in each period.

    The first period is left out, because all strategies share its training.
    """
    rows = [period["strategies"] for period in report["periods"]][1:]

    def ratio(name: str) -> float:
        sums = {each: sum(row[each][name] for row in rows) for each in ("incremental", "scratch")}
        return round(sums["incremental"] / sums["scratch"], 4)

    ahead = [row["incremental"]["recall@20"] > row["frozen"]["recall@20"] for row in rows]
    return {
        "recall@20_of_scratch": ratio("recall@20"),
        "train_seconds_of_scratch": ratio("train_seconds"),
        "periods": len(rows),
        "beats_frozen_in": sum(ahead),
    }


def main() -> None:
    """Replay each log that the data folder has."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "logs", nargs="*", choices=[*LOGS, []], metavar="LOG", help="logs to replay; default all"
    )
    parser.add_argument("--chart", type=Path, help="a PNG file for the chart of the last log")
    arguments = parser.parse_args()
    data = Path(os.environ.get("LASTAISLE_DATA", "../shared/data"))
    for name in arguments.logs or LOGS:
        source_format, file = LOGS[name]
        if not (data / file).is_file():
            print(f"skipped: no file {data / file}; set LASTAISLE_DATA", file=sys.stderr)
            continue
        report = replay(read_periods(source_format, str(data / file)), STRATEGIES)
        print(json.dumps({"log": name, **compare_strategies(report)}), flush=True)
        Console().print(tabulate(report))
        if arguments.chart:
            draw(report, arguments.chart)


if __name__ == "__main__":
    main()
