"""How close is the simulated shop to real logs? Both are measured side by side.

    python benchmarks/simulator_realism.py [--seed 7]

Real: yoochoose-week.tsv (clicks) and taobao-slice.csv (shares of events) in LASTAISLE_DATA, by default
../shared/data. Simulated: a shop of the size of the real shop, and the default shop. Broken rows and
duplicates of the simulated logs are left out. Their sessions are filtered as the real sessions were: sessions
of two clicks or more, items of five clicks or more, and no crawlers (sessions of more than 200 clicks).
Prints a table, and last a JSON line.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np

from lastaisle.simulate import ShopOptions, simulate

DATA = Path(os.environ.get("LASTAISLE_DATA") or Path(__file__).resolve().parents[1] / "../shared/data")
LONGEST = 200
SAME_SIZE = ShopOptions(sessions_per_day=3750, items=5200, new_items_per_day=40)
Click = tuple[str, str, float]
ROWS = {
    "clicks_per_day": ("clicks a day", "{:,.0f}"),
    "items": ("items", "{:,.0f}"),
    "session_mean": ("session length, mean", "{:.2f}"),
    "session_median": ("session length, median", "{:.0f}"),
    "session_p90": ("session length, 90th percentile", "{:.0f}"),
    "session_p99": ("session length, 99th percentile", "{:.0f}"),
    "repeat_share": ("clicks that repeat an item of their session", "{:.1%}"),
    "same_again_share": ("next click is the same item", "{:.1%}"),
    "top_1": ("clicks on the top 1 % of items", "{:.1%}"),
    "top_10": ("clicks on the top 10 % of items", "{:.1%}"),
    "top_50": ("clicks on the top 50 % of items", "{:.1%}"),
    "gap_median": ("seconds between clicks, median", "{:.0f}"),
    "gap_p90": ("seconds between clicks, 90th percentile", "{:.0f}"),
    "busiest_hours": ("clicks in the busiest six hours of the day", "{:.1%}"),
    "popularity_hit": ("hit_rate@20 of popularity, last day", "{:.1%}"),
    "cooccurrence_hit": ("hit_rate@20 of co-occurrence with the last item, last day", "{:.1%}"),
    "view": ("views, share of views, carts and orders", "{:.1%}"),
    "cart": ("carts, share of views, carts and orders", "{:.1%}"),
    "buy": ("orders, share of views, carts and orders", "{:.1%}"),
}


def real_clicks(path: Path) -> list[Click]:
    """Read the clicks of the real week."""
    with path.open() as file:
        rows = csv.DictReader(file, delimiter="\t")
        return [(row["SessionId"], row["ItemId"], float(row["Time"])) for row in rows]


def real_shares(path: Path) -> dict[str, float]:
    """Count views, carts and orders in the real slice."""
    with path.open() as file:
        counts = Counter(row[3] for row in csv.reader(file))
    return shares(counts["pv"], counts["cart"], counts["buy"])


def shares(views: int, carts: int, orders: int) -> dict[str, float]:
    """Return the share of each kind; the real slice also has favourites, which the simulated shop lacks."""
    total = views + carts + orders
    return {"view": views / total, "cart": carts / total, "buy": orders / total}


def simulated(options: ShopOptions) -> tuple[list[Click], dict[str, float]]:
    """Simulate, drop broken rows and duplicates, and return the clicks and the shares."""
    seen: set[str] = set()
    clicks: list[Click] = []
    kinds: Counter[str] = Counter()
    for line in (line for logs in simulate(options) for line in logs.lines):
        event = read_event(line)
        if event is None or event["event_id"] in seen:
            continue
        seen.add(event["event_id"])
        kinds[event["event_type"]] += 1
        if event["event_type"] == "item_viewed" and "session_id" in event:
            time = datetime.fromisoformat(event["occurred_at"]).timestamp()
            clicks.append((event["session_id"], event["item_id"], time))
    return clicks, shares(kinds["item_viewed"], kinds["item_added"], kinds["order_completed"])


def read_event(line: str) -> dict[str, str] | None:
    """Read one line; return None if the line is broken."""
    try:
        event: dict[str, str] = json.loads(line)
        datetime.fromisoformat(event["occurred_at"])
    except ValueError:
        return None
    usable = "event_id" in event and event["occurred_at"] < "2900"
    return event if usable and ("item_id" in event or event["event_type"] != "item_viewed") else None


def as_published(clicks: Iterable[Click]) -> list[Click]:
    """Keep sessions of 2 to LONGEST clicks, and items of five clicks or more, as in the real week."""
    clicks = list(clicks)
    for _ in range(3):
        items = Counter(item for _, item, _ in clicks)
        clicks = [click for click in clicks if items[click[1]] >= 5]
        lengths = Counter(session for session, _, _ in clicks)
        clicks = [click for click in clicks if 2 <= lengths[click[0]] <= LONGEST]
    return clicks


def describe(clicks: list[Click]) -> dict[str, float]:
    """Measure sessions, popularity, and the time between clicks."""
    clicks = sorted(clicks, key=lambda click: (click[0], click[2]))
    session = np.unique([click[0] for click in clicks], return_inverse=True)[1]
    item = np.unique([click[1] for click in clicks], return_inverse=True)[1]
    time = np.array([click[2] for click in clicks])
    lengths = np.bincount(session)
    popularity = np.sort(np.bincount(item))[::-1] / len(item)
    inside = session[1:] == session[:-1]
    gaps = np.diff(time)[inside]
    hours = np.sort(np.bincount((time // 3600 % 24).astype(int), minlength=24))[::-1] / len(time)

    def top(share: float) -> float:
        return float(popularity[: round(share * len(popularity))].sum())

    return {
        "clicks_per_day": len(time) / max(1.0, np.ceil((time.max() - time.min()) / 86400)),
        "items": float(len(popularity)),
        "session_mean": float(lengths.mean()),
        "session_median": float(np.median(lengths)),
        "session_p90": float(np.quantile(lengths, 0.9)),
        "session_p99": float(np.quantile(lengths, 0.99)),
        "repeat_share": 1 - len({*zip(session.tolist(), item.tolist(), strict=True)}) / len(item),
        "same_again_share": float((np.diff(item) == 0)[inside].mean()),
        "top_1": top(0.01),
        "top_10": top(0.1),
        "top_50": top(0.5),
        "gap_median": float(np.median(gaps)),
        "gap_p90": float(np.quantile(gaps, 0.9)),
        "busiest_hours": float(hours[:6].sum()),
        **baselines(session, item, time),
    }


def baselines(session: np.ndarray, item: np.ndarray, time: np.ndarray, k: int = 20) -> dict[str, float]:
    """Measure hit_rate@k of the two simplest recommenders on the last 24 hours; earlier clicks train."""
    now, follows = np.arange(len(item) - 1), session[1:] == session[:-1]
    now = now[follows]
    late = time[now] >= time.max() - 86400
    pairs: dict[int, Counter[int]] = {}
    for here, there in zip(item[now[~late]].tolist(), item[now[~late] + 1].tolist(), strict=True):
        pairs.setdefault(here, Counter())[there] += 1
    popular = {i for i, _ in Counter(item[time < time.max() - 86400].tolist()).most_common(k)}
    best = {i: {j for j, _ in counts.most_common(k)} for i, counts in pairs.items()}
    targets = list(zip(item[now[late]].tolist(), item[now[late] + 1].tolist(), strict=True))
    return {
        "popularity_hit": sum(target in popular for _, target in targets) / len(targets),
        "cooccurrence_hit": sum(target in best.get(here, ()) for here, target in targets) / len(targets),
    }


def figures(options: ShopOptions) -> dict[str, float]:
    """Measure one simulated shop."""
    clicks, of_events = simulated(options)
    return {**describe(as_published(clicks)), **of_events}


def real_figures() -> dict[str, float]:
    """Measure the real logs that exist, and print which do not exist."""
    week, slice_ = DATA / "yoochoose-week.tsv", DATA / "taobao-slice.csv"
    for path in (week, slice_):
        if not path.exists():
            print(f"not compared: {path.name} is not in {DATA} (set LASTAISLE_DATA)")
    clicks = describe(real_clicks(week)) if week.exists() else {}
    return {**clicks, **(real_shares(slice_) if slice_.exists() else {})}


def main() -> None:
    """Print the table and the JSON line."""
    parser = argparse.ArgumentParser(description="How close the simulated shop is to real logs.")
    parser.add_argument("--seed", type=int, default=7)
    seed = parser.parse_args().seed
    columns = {
        "real": real_figures(),
        "same size": figures(replace(SAME_SIZE, seed=seed)),
        "default": figures(ShopOptions(seed=seed)),
    }
    print(f"{'':60}" + "".join(f"{name:>12}" for name in columns))
    for name, (label, form) in ROWS.items():
        cells = (form.format(column[name]) if name in column else "-" for column in columns.values())
        print(f"{label:60}" + "".join(f"{cell:>12}" for cell in cells))
    print(json.dumps({"benchmark": "simulator_realism", "seed": seed, **columns}))


if __name__ == "__main__":
    main()
