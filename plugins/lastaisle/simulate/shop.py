"""The simulated shop, day by day."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date

import numpy as np

from lastaisle.simulate.affinity import affinity_of
from lastaisle.simulate.breaks import apply_events
from lastaisle.simulate.catalogue import Catalogue, open_catalogue
from lastaisle.simulate.events import events_of
from lastaisle.simulate.feed import Feed
from lastaisle.simulate.lines import lines_of
from lastaisle.simulate.noise import BREAKS, CLEAN, DUPLICATE, NO_DELIVERIES, Deliveries, deliver, fates_of
from lastaisle.simulate.options import Day, ShopOptions
from lastaisle.simulate.sessions import sessions_of
from lastaisle.simulate.shoppers import Shoppers, first_shoppers


@dataclass(frozen=True)
class Truth:
    """The true counts of one day's logs, to check ingestion against.

    rows = clean + duplicates + broken rows of all kinds.

    Attributes:
        rows: lines that arrived on the day.
        clean: valid lines that repeat no earlier line.
        duplicates: lines that repeat an earlier line of any day, byte for byte.
        late: clean lines that arrived 2 to 36 hours after they happened.
        broken: damaged lines by kind of damage; every kind of noise.BREAKS has a count.
        sessions: sessions that started on the day.
        bots: sessions among them that were crawlers'.
        new_items: items launched on the day.
        items: items in the catalogue.
    """

    rows: int
    clean: int
    duplicates: int
    late: int
    broken: dict[str, int]
    sessions: int
    bots: int
    new_items: int
    items: int


@dataclass(frozen=True)
class DayOfLogs:
    """The rows that arrived on one day, in order of arrival.

    Attributes:
        day: the day (UTC).
        lines: canonical JSON, without line ends; a few lines are damaged.
        truth: the true counts of the lines.
        items: the rows of the catalogue that changed at the start of the day, as lines of JSON.
    """

    day: date
    lines: list[str]
    truth: Truth
    items: list[str] = field(default_factory=list)


def simulate(options: ShopOptions) -> Iterator[DayOfLogs]:
    """Simulate a shop's logs day by day.

    A day's logs do not depend on how many days follow, unless the shop is eventful. Rows that are still on
    their way when the last day ends are not delivered.
    """
    catalogue = open_catalogue(options)
    shoppers = first_shoppers(options, catalogue.shelf_weights(options.start))
    pending = NO_DELIVERIES
    feed = Feed()
    for number in range(options.days):
        day = Day(options, number)
        launched = catalogue.open_day(day) + apply_events(day, catalogue, shoppers)
        happened, sessions, bots = _simulate_day(day, catalogue, shoppers)
        arrived, pending = pending.merged(happened).split(day.next.midnight)
        truth = _truth(arrived, sessions=sessions, bots=bots, new_items=launched, items=len(catalogue))
        yield DayOfLogs(day.date, arrived.lines, truth, feed.rows_of(day, catalogue))


def _simulate_day(day: Day, catalogue: Catalogue, shoppers: Shoppers) -> tuple[Deliveries, int, int]:
    """Simulate one day; return its rows, the number of its sessions, and how many sessions were bots'."""
    affinity = affinity_of(catalogue, day)
    shoppers.drift(day, affinity.demand)
    sessions = sessions_of(day, shoppers, affinity)
    events = events_of(day, sessions)
    fates = fates_of(day, events.session, events.occurred)
    lines = lines_of(day, catalogue, shoppers, sessions, events, received=fates.received)
    return deliver(day, lines, fates), len(sessions), int(sessions.bot.sum())


def _truth(arrived: Deliveries, *, sessions: int, bots: int, new_items: int, items: int) -> Truth:
    counts = np.bincount(arrived.label, minlength=2 + len(BREAKS)).tolist()
    return Truth(
        rows=len(arrived),
        clean=counts[CLEAN],
        duplicates=counts[DUPLICATE],
        late=int(arrived.late.sum()),
        broken=dict(zip(BREAKS, counts[2:], strict=True)),
        sessions=sessions,
        bots=bots,
        new_items=new_items,
        items=items,
    )
