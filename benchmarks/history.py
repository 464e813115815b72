"""Does reading the sessions of a training cost more, the older a shop is?

    python benchmarks/history.py [--days 8 64 256] [--events 20000] [--repeats 5]

Lakes of one made-up shop that differ only in their age. Each read takes the sessions of the newest day, with
the consent of their shoppers and the shoppers of the last thirty days. The online update looks for shoppers
who have refused since the update before. Takes half a minute.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from lastaisle.lake import Lake
from lastaisle.sessions.windows import Window, refusing_shoppers, training_sessions

NEWEST = date(2025, 10, 9)
EVENTS_A_SESSION = 5


def day_of_events(at: date, events: int, generator: np.random.Generator) -> pa.Table:
    """Return one day: sessions of five views; one shopper of fifty refuses personalization."""
    sessions = np.arange(events) // EVENTS_A_SESSION
    shoppers = generator.integers(50 * events, size=sessions.max() + 1)[sessions]
    midnight = datetime(at.year, at.month, at.day, tzinfo=UTC).timestamp()
    seconds = sessions * 86_000 / sessions.max() + 10 * (np.arange(events) % EVENTS_A_SESSION)
    return pa.table(
        {
            "session_id": pa.array([f"{at}-{number}" for number in sessions]),
            "user_id": pa.array([f"u{number}" for number in shoppers]),
            "item_id": pa.array([f"i{number}" for number in generator.integers(5000, size=events)]),
            "event_type": pa.array(["item_viewed"] * events),
            "occurred_at": pa.array(((midnight + seconds) * 1e6).astype("int64")).cast(
                pa.timestamp("us", "UTC")
            ),
            "sequence": pa.array(np.arange(events)),
            "device_type": pa.array(["mobile"] * events),
            "consent_personalization": pa.array(shoppers % 50 > 0),
            "event_date": pa.array([at] * events),
        }
    )


def measure(days: int, events: int, repeats: int) -> dict[str, float]:
    """Return the seconds of a read and of a look for refusals, in a shop of this age."""
    generator = np.random.default_rng(1)
    with tempfile.TemporaryDirectory(prefix="lastaisle-history-") as folder:
        lake = Lake(Path(folder) / "lake")
        for back in reversed(range(days)):
            at = NEWEST - timedelta(days=back)
            lake.append("events", day_of_events(at, events, generator), key=str(at))
        end = datetime(NEWEST.year, NEWEST.month, NEWEST.day, tzinfo=UTC) + timedelta(days=1)
        window = Window(end - timedelta(days=1), end, half_life_hours=24)
        timed: dict[str, list[float]] = {"read": [], "all_refusals": []}
        for _ in range(repeats):
            began = perf_counter()
            training_sessions(lake, window, end, None)
            timed["read"].append(perf_counter() - began)
            began = perf_counter()
            refusing_shoppers(lake)
            timed["all_refusals"].append(perf_counter() - began)
    return {name: median(seconds) for name, seconds in timed.items()}


def main() -> None:
    """Measure, and print one JSON line an age and a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--days", type=int, nargs="+", default=[8, 64, 256])
    parser.add_argument("--events", type=int, default=20_000, help="events a day")
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    table = Table("days", "events", "seconds of a read", "seconds of a scan of all consent")
    for days in asked.days:
        timed = measure(days, asked.events, asked.repeats)
        row = {"days": days, "events": days * asked.events, **{k: round(v, 4) for k, v in timed.items()}}
        print(json.dumps(row))
        table.add_row(
            f"{days:,}", f"{row['events']:,}", f"{timed['read']:.3f}", f"{timed['all_refusals']:.3f}"
        )
    Console().print(table)


if __name__ == "__main__":
    main()
