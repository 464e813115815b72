"""Is learning every day worth it? A real week, day by day: frozen, from scratch, incremental.

Takes about five minutes on two cores. The data are not in the project: LASTAISLE_DATA names their folder.
With a file name as argument, writes the chart there.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from rich.console import Console

from lastaisle.replay import read_periods, replay
from lastaisle.replay_chart import draw, tabulate


def main() -> None:
    """Replay the week, print the summary and, for each later day, what incremental gains."""
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
    print(json.dumps({"summary": summary, "incremental_to_scratch": ratios}))
    Console().print(tabulate(report))
    if len(sys.argv) > 1:
        draw(report, Path(sys.argv[1]))


if __name__ == "__main__":
    main()
