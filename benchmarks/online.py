"""How fast are online updates, and what do they add to incremental training?

    python benchmarks/online.py [--sessions 20000] [--chart FILE]

Learns sessions of the real week, one by one on one core, into a delta on embeddings of 128 numbers, and
counts them per second (target: 2,000). Then replays the week with and without the updates. Takes about two
minutes on two cores. The data are not in the project: LASTAISLE_DATA names their folder. Prints a line of
JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from time import process_time

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
WIDTH = 128
TARGET = 2000


def sessions_per_second(source: Path, sessions: int) -> dict[str, float]:
    """Learn so many sessions in this process, which must have one thread."""
    import numpy as np

    from lastaisle.replay import read_periods
    from models.online import OnlineDelta
    from models.sequences import SessionLog
    from models.vocabulary import Vocabulary

    log = SessionLog.concat([period.log for period in read_periods("yoochoose", str(source))])
    log = log.select(np.arange(sessions) % len(log))
    half = log.select(slice(0, len(log) // 2))
    known = Vocabulary(half.ids())  # the other items are new
    counts = np.r_[0.0, np.ones(len(known))]
    table = np.random.default_rng(7).standard_normal((known.size, WIDTH)).astype(np.float32)
    delta = OnlineDelta(table, known.with_counts(counts), 0.07)
    began = process_time()  # of the one core, whatever else runs on it
    delta.learn_log(log)
    seconds = process_time() - began
    return {
        "sessions": len(log),
        "items_a_session": round(log.n_events / len(log), 2),
        "items": len(delta.vocabulary),
        "sessions_per_second": round(len(log) / seconds),
    }


def on_one_core(source: Path, sessions: int) -> dict[str, float]:
    """Run `sessions_per_second` in a process that has one core."""
    import subprocess

    core = str(min(os.sched_getaffinity(0)))
    command = ["taskset", "-c", core, sys.executable, __file__, "--sessions", str(sessions), "--speed-only"]
    environment = {**os.environ, **dict.fromkeys(ONE_THREAD, "1")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measure both, and print them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sessions", type=int, default=20_000, help="sessions learned for the speed")
    parser.add_argument("--chart", type=Path, help="a PNG file for the replay")
    parser.add_argument("--speed-only", action="store_true", help="in this process, without the replay")
    given = parser.parse_args()
    source = Path(os.environ.get("LASTAISLE_DATA", "../shared/data")) / "yoochoose-week.tsv"
    if not source.is_file():
        print(f"skipped: no file {source}; set LASTAISLE_DATA", file=sys.stderr)
        return
    if given.speed_only:
        print(json.dumps(sessions_per_second(source, given.sessions)))
        return
    from rich.console import Console

    from lastaisle.replay import read_periods, replay
    from lastaisle.replay_chart import draw, tabulate

    speed = on_one_core(source, given.sessions)
    report = replay(read_periods("yoochoose", str(source)), ("frozen", "incremental", "online"))
    Console().print(tabulate(report))
    if given.chart:
        draw(report, given.chart)
    periods = [entry["strategies"] for entry in report["periods"]]
    gains = [round(row["online"]["recall@20"] - row["incremental"]["recall@20"], 4) for row in periods]
    result = {"benchmark": "online", **speed, "target": TARGET, "summary": report["summary"]}
    print(json.dumps({**result, "recall@20_gained_by_period": gains}))


if __name__ == "__main__":
    main()
