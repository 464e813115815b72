"""Does drift detection raise no alarm on quiet days, and an alarm for every break?

    python benchmarks/drift.py [--sessions 3000] [--warm-up 56] [--quiet 50]

A simulated shop, whose tastes, popularity and catalogue change a little every day, fills a lake with events.
`lastaisle.monitor.drift.detect` judges each day, and the benchmark counts the quiet days with an alarm. Then
each break begins on the day after the quiet days, and the benchmark counts the days until an alarm. Prints a
table, and last a JSON line; `--chart FILE` draws the drift of the category break.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from lastaisle.lake import Lake
from lastaisle.lake.tables import DRIFT, EVENTS
from lastaisle.monitor.drift.chart import draw
from lastaisle.monitor.drift.detect import detect
from lastaisle.monitor.drift.report import DriftReport
from lastaisle.settings import Settings
from lastaisle.simulate import ShopOptions
from lastaisle.simulate.affinity import affinity_of
from lastaisle.simulate.catalogue import CATEGORIES, Catalogue, open_catalogue
from lastaisle.simulate.events import EVENT_TYPES, events_of
from lastaisle.simulate.options import Day
from lastaisle.simulate.sessions import sessions_of
from lastaisle.simulate.shoppers import DEVICES, PLACES, Shoppers, first_shoppers

START = date(2025, 3, 3)
RUNNING = next(number for number, row in enumerate(CATEGORIES) if row[0] == "sports.running")


def category_doubles(catalogue: Catalogue, shoppers: Shoppers) -> None:
    """Double the demand for running gear, also of shoppers whose taste is fixed already."""
    running = catalogue.shelf % len(CATEGORIES) == RUNNING
    shelves = np.unique(catalogue.shelf[running])
    catalogue.shelf_trend[shelves] += np.log(2.4)
    rng = np.random.default_rng(1)
    share = float(np.isin(shoppers.tastes[:, 0], shelves).mean())
    converted = rng.random(len(shoppers)) < 1.4 * share
    shoppers.tastes[converted, 0] = rng.choice(shelves, int(converted.sum()))


def prices_rise(catalogue: Catalogue, shoppers: Shoppers) -> None:
    """Raise all prices by 30 %."""
    catalogue.list_price = catalogue.list_price * 1.3


def running_rises(catalogue: Catalogue, shoppers: Shoppers) -> None:
    """Raise the prices of one category by 30 %."""
    running = catalogue.shelf % len(CATEGORIES) == RUNNING
    catalogue.list_price = np.where(running, 1.3, 1.0) * catalogue.list_price


def launch(catalogue: Catalogue, shoppers: Shoppers) -> None:
    """Launch 300 items at once."""
    catalogue.launch(np.random.default_rng(2), 300, day=10_000)


BREAKS: dict[str, Callable[[Catalogue, Shoppers], None] | None] = {
    "category's share doubles": category_doubles,
    "all prices +30 %": prices_rise,
    "one category's prices +30 %": running_rises,
    "launch of 300 items": launch,
    "bot flood (3 % of sessions)": None,
    "busiest hour duplicated": None,
}


def simulate_day(day: Day, catalogue: Catalogue, shoppers: Shoppers) -> pa.Table:
    """Return the events of a day in the form of the table `events`."""
    affinity = affinity_of(catalogue, day)
    shoppers.drift(day, affinity.demand)
    sessions = sessions_of(day, shoppers, affinity)
    events = events_of(day, sessions)
    who = sessions.shopper[events.session]
    known, items = ~sessions.anonymous[events.session], events.item >= 0

    def text(values: np.ndarray, there: np.ndarray | None = None) -> pa.Array:
        return pa.array(values.astype(str), pa.string(), mask=None if there is None else ~there)

    shelf, at = catalogue.shelf, np.maximum(events.item, 0)
    categories = np.array([row[0] for row in CATEGORIES])[shelf % len(CATEGORIES)]
    brands = np.char.add(np.char.add(shelf.astype(str), "-"), catalogue.brand.astype(str))
    countries = np.array([country for country, _ in PLACES])
    columns = {
        "session_id": text(np.char.add(f"{day.number}-", events.session.astype(str))),
        "user_id": text(who, known),
        "item_id": text(events.item, items),
        "event_type": text(np.array(EVENT_TYPES)[events.kind]),
        "occurred_at": pa.array(events.occurred // 1000 * 1_000_000).cast(pa.timestamp("us", "UTC")),
        "sequence": pa.array(np.arange(len(events))),
        "device_type": text(np.array(DEVICES)[sessions.device[events.session]]),
        "country": text(countries[shoppers.place[who]]),
        "category": text(categories[at], items),
        "brand": text(brands[at], items),
        "price": pa.array(catalogue.price[at], mask=~items),
        "dwell_ms": pa.array(events.dwell, mask=events.dwell < 0),
        "consent_personalization": pa.array(np.ones(len(events), bool)),
        "event_date": pa.array([day.date] * len(events), pa.date32()),
        "batch_id": text(np.full(len(events), day.number)),
    }
    return pa.table(columns)


@dataclass
class Shop:
    """A shop that is simulated day by day.

    Attributes:
        options: the options of the shop.
        catalogue: the items of the shop after the last simulated day.
        shoppers: the shoppers who have come so far.
    """

    options: ShopOptions
    catalogue: Catalogue
    shoppers: Shoppers

    @classmethod
    def opened(cls, options: ShopOptions) -> Shop:
        """Return the shop before its first day."""
        catalogue = open_catalogue(options)
        return cls(options, catalogue, first_shoppers(options, catalogue.shelf_weights(options.start)))

    def next(self, number: int, name: str = "", first: bool = False) -> pa.Table:
        """Return the events of a day; `first` = the named break begins on this day."""
        flooded = replace(self.options, bots=0.03) if name.startswith("bot flood") else self.options
        day = Day(flooded, number)
        self.catalogue.open_day(day)
        change = BREAKS.get(name)
        if change and first:
            change(self.catalogue, self.shoppers)
        events = simulate_day(day, self.catalogue, self.shoppers)
        return duplicated(events) if "duplicated" in name else events


def duplicated(events: pa.Table) -> pa.Table:
    """Repeat the busiest hour's rows."""
    import pyarrow.compute as pc

    hours = pc.hour(events["occurred_at"])
    busiest = int(np.bincount(hours.to_numpy()).argmax())
    return pa.concat_tables([events, events.filter(pc.equal(hours, busiest))])


def until_detected(lake: Lake, settings: Settings, shop: Shop, name: str) -> tuple[int, DriftReport]:
    """Append days with a break; return the days until the first alarm (0: not within 3), and the report."""
    for number in range(3):
        day = shop.options.days + number
        lake.append(EVENTS, shop.next(day, name, first=not number), key=f"{name}/{number}")
        report = detect(lake, settings, shop.options.start + timedelta(days=day))
        if report.alarms:
            return number + 1, report
    return 0, report


def main() -> None:
    """Measure, and print the figures as a table and as one line of JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sessions", type=int, default=3000, help="sessions on an average day")
    parser.add_argument("--warm-up", type=int, default=56, help="days before the first judged day")
    parser.add_argument("--quiet", type=int, default=50, help="judged quiet days")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--chart", type=Path, help="a PNG file for scores and limits over time")
    parser.add_argument("--output", type=Path, help="a file for the line of JSON as well")
    given = parser.parse_args()
    began = time.perf_counter()
    days = given.warm_up + given.quiet
    options = ShopOptions(given.seed, START, days, sessions_per_day=given.sessions, items=1000)
    alarms: dict[str, str] = {}
    detected: dict[str, int] = {}
    words: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="lastaisle-drift-") as folder:
        lake, settings = Lake(Path(folder) / "lake"), Settings.of(home=Path(folder))
        shop = Shop.opened(options)
        for number in range(days):
            lake.append(EVENTS, shop.next(number), key=str(number))
            if number >= given.warm_up:
                report = detect(lake, settings, START + timedelta(days=number))
                if report.alarms:
                    alarms[report.day.isoformat()] = report.summary
        quiet_seconds = time.perf_counter() - began
        for name in BREAKS:
            broken = Lake(_copied(lake, Path(folder) / name.split()[0] / str(len(detected))))
            detected[name], report = until_detected(broken, settings, deepcopy(shop), name)
            words[name] = report.summary
            if given.chart and name.startswith("category"):
                draw(broken.scan(DRIFT).to_pylist(), given.chart)
    result = {
        "benchmark": "drift",
        "sessions_per_day": given.sessions,
        "quiet_days": given.quiet,
        "comparisons_a_day": len(report.findings),
        "quiet_days_with_alarm": len(alarms),
        "windows_until_detection": detected,
        "seconds_a_quiet_day": round(quiet_seconds / days, 3),
        "seconds": round(time.perf_counter() - began, 1),
    }
    table = Table(
        "break",
        "windows until detection",
        "summary",
        title=f"{len(alarms)} alarms in {given.quiet} quiet days",
    )
    for name, windows in detected.items():
        table.add_row(name, str(windows) if windows else "not within 3", words[name])
    console = Console()
    for said in alarms.values():
        console.print(f"false alarm: {said}")
    console.print(table)
    line = json.dumps(result)
    if given.output:
        given.output.write_text(f"{line}\n")
    print(line)


def _copied(lake: Lake, to: Path) -> Path:
    import shutil

    shutil.copytree(lake.url, to)
    return to


if __name__ == "__main__":
    main()
