"""How fast are online updates, and what do they add to incremental training?

    python benchmarks/online.py [--sessions 20000] [--chart FILE] [--shoppers-only] [--seed 7]

Learns sessions of the real week, one by one on one core, into a delta on embeddings of 128 numbers. Counts
sessions per second (target: 2,000), with and without shoppers. Then replays the week with and without the
updates: about two minutes on two cores. The data are not in the project: LASTAISLE_DATA names their folder.
The real week names no shoppers. So the gain by shoppers' vectors is measured on a simulated shop, over eight
days of online updates and warm starts, for shoppers who had come on an earlier one of these days: about two
minutes more. Prints a line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from time import process_time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lastaisle.replay.replay import Period
    from lastaisle.replay.strategies import FirstModel
    from models.data.sequences import SessionLog

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
WIDTH = 128
TARGET = 2000
SHOPPERS = 50_000  # more than the delta keeps, so that some vectors are dropped
DAYS, FIRST_DAYS = 16, 8  # of the simulated shop: all days, and the days of the first training


def sessions_per_second(source: Path, sessions: int) -> dict[str, float]:
    """Learn this number of sessions in this process, which must have one thread."""
    import numpy as np

    from lastaisle.replay.replay import read_periods
    from models.data.sequences import SessionLog
    from models.data.vocabulary import Vocabulary
    from models.online.delta import OnlineDelta

    log = SessionLog.concat([period.log for period in read_periods("yoochoose", str(source))])
    log = log.select(np.arange(sessions) % len(log))
    half = log.select(slice(0, len(log) // 2))
    known = Vocabulary(half.ids())  # the other items are new
    counts = np.r_[0.0, np.ones(len(known))]
    table = np.random.default_rng(7).standard_normal((known.size, WIDTH)).astype(np.float32)
    users = np.array([f"u{number % SHOPPERS}" for number in range(len(log))], dtype=object)
    speeds = []
    for context in ({}, {"user": users}):
        delta = OnlineDelta(table, known.with_counts(counts), 0.07)
        began = process_time()  # time of this process only, not of others on the core
        delta.learn_log(replace(log, context=context))
        speeds.append(round(len(log) / (process_time() - began)))
    return {
        "sessions": len(log),
        "items_a_session": round(log.n_events / len(log), 2),
        "items": len(delta.vocabulary),
        "sessions_per_second": speeds[0],
        "sessions_per_second_with_shoppers": speeds[1],
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


def of_returning_shoppers(seed: int) -> dict[str, float]:
    """Replay a simulated shop with and without shoppers' vectors; measure recall for returning shoppers."""
    from lastaisle.replay.replay import Period, read_periods
    from lastaisle.replay.strategies import FirstModel
    from lastaisle.simulate import ShopOptions, write_logs
    from models.data.sequences import SessionLog
    from models.options import TrainingOptions

    shop = ShopOptions(seed=seed, days=DAYS, sessions_per_day=800, items=1000, new_items_per_day=6)
    with tempfile.TemporaryDirectory(prefix="lastaisle-online-") as folder:
        write_logs(folder, shop)
        days = read_periods("canonical", folder)
    first = Period("first", SessionLog.concat([day.log for day in days[:FIRST_DAYS]]))
    periods = [first, *days[FIRST_DAYS:]]
    first_model = FirstModel("attention", TrainingOptions(embedding_size=64))
    nameless = [replace(one, log=replace(one.log, context=_without_user(one.log))) for one in periods]
    names = [one.log.context["user"] for one in periods]
    found: dict[str, float] = {"seed": seed}
    for label, read in (("with", periods), ("without", nameless)):
        found |= {f"{name}_{label}": value for name, value in _recalls(first_model, read, names).items()}
    return found


def _without_user(log: SessionLog) -> dict[str, NDArray[Any]]:
    return {name: column for name, column in log.context.items() if name != "user"}


def _recalls(
    first_model: FirstModel, periods: Sequence[Period], names: Sequence[NDArray[np.object_]]
) -> dict[str, float]:
    """Return recall@20 of first items and of later items, for shoppers who came in an earlier period."""
    import numpy as np

    from lastaisle.replay.strategies import Online
    from models.data.sequences import Examples, SessionLog

    strategy, known, ranks, places = Online(first_model), set[str](), [], []
    for at, (last, following) in enumerate(pairwise(periods), start=1):
        seen = SessionLog.concat([period.log for period in periods[:at]])
        strategy.learn(seen, last.log)
        log = following.log
        session = log.session_of_event
        position = np.arange(log.n_events) - log.offsets[session]
        everywhere = Examples(log, session.astype(np.int32), position.astype(np.int32))
        ranking, _ = strategy.rank(log, everywhere)
        returned = np.array([name in known for name in names[at]])[session]
        ranks.append(ranking.ranks[returned])
        places.append(position[returned])
        known |= {name for name in names[at] if name}
    rank, place = np.concatenate(ranks), np.concatenate(places)
    hit = (rank > 0) & (rank <= 20)
    return {
        "targets": len(hit),
        "recall@20": round(float(hit[place > 0].mean()), 4),
        "recall@20_of_first_items": round(float(hit[place == 0].mean()), 4),
    }


def main() -> None:
    """Measure, and print a line of JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sessions", type=int, default=20_000, help="sessions for the measurement of speed")
    parser.add_argument("--chart", type=Path, help="a PNG file for the replay")
    parser.add_argument("--speed-only", action="store_true", help="measure only the speed, in this process")
    parser.add_argument("--shoppers-only", action="store_true", help="measure only the simulated shop")
    parser.add_argument("--seed", type=int, default=7, help="seed of the simulated shop")
    given = parser.parse_args()
    if given.shoppers_only:
        print(json.dumps(of_returning_shoppers(given.seed)))
        return
    source = Path(os.environ.get("LASTAISLE_DATA", "../shared/data")) / "yoochoose-week.tsv"
    if not source.is_file():
        print(f"skipped: no file {source}; set LASTAISLE_DATA", file=sys.stderr)
        return
    if given.speed_only:
        print(json.dumps(sessions_per_second(source, given.sessions)))
        return
    from rich.console import Console

    from lastaisle.replay.chart import draw, tabulate
    from lastaisle.replay.replay import read_periods, replay

    speed = on_one_core(source, given.sessions)
    report = replay(read_periods("yoochoose", str(source)), ("frozen", "incremental", "online"))
    Console().print(tabulate(report))
    if given.chart:
        draw(report, given.chart)
    periods = [entry["strategies"] for entry in report["periods"]]
    gains = [round(row["online"]["recall@20"] - row["incremental"]["recall@20"], 4) for row in periods]
    result = {"benchmark": "online", **speed, "target": TARGET, "summary": report["summary"]}
    result["recall@20_gained_by_period"] = gains
    print(json.dumps({**result, "returning_shoppers": of_returning_shoppers(given.seed)}))


if __name__ == "__main__":
    main()
