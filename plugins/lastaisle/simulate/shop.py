"""The simulated shop, day by day."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date

import numpy as np

from lastaisle.simulate.affinity import affinity_of
from lastaisle.simulate.breaks import apply_events
from lastaisle.simulate.catalogue import Catalogue, open_catalogue
from lastaisle.simulate.events import Events, events_of
from lastaisle.simulate.feed import Feed
from lastaisle.simulate.lines import lines_of
from lastaisle.simulate.noise import BREAKS, CLEAN, DUPLICATE, NO_DELIVERIES, Deliveries, deliver, fates_of
from lastaisle.simulate.options import Day, ShopOptions
from lastaisle.simulate.sessions import Sessions, sessions_of
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


@dataclass(frozen=True)
class DrawnDay:
    """One day of the shop as it was drawn, before its events become lines.

    Attributes:
        day: the day.
        catalogue: the items on this day.
        shoppers: all shoppers so far.
        sessions: the sessions that start on the day.
        events: the events of the sessions.
    """

    day: Day
    catalogue: Catalogue
    shoppers: Shoppers
    sessions: Sessions
    events: Events


React = Callable[[DrawnDay], Events]
"""Returns the events of a day after shoppers reacted to something that the draws do not know."""


def _as_drawn(drawn: DrawnDay) -> Events:
    return drawn.events


class Shop:
    """A shop that lives one day after another.

    Attributes:
        options: the options of the shop.
        number: of the day that `next_day` gives; 0 is the first day.
    """

    def __init__(self, options: ShopOptions) -> None:
        self.options = options
        self.number = 0
        self._catalogue = open_catalogue(options)
        self._shoppers = first_shoppers(options, self._catalogue.shelf_weights(options.start))
        self._pending = NO_DELIVERIES
        self._feed = Feed()

    def next_day(self, react: React = _as_drawn) -> DayOfLogs:
        """Simulate the next day.

        Args:
            react: changes the events of the day before they become lines.
        """
        day, catalogue = Day(self.options, self.number), self._catalogue
        self.number += 1
        launched = catalogue.open_day(day) + apply_events(day, catalogue, self._shoppers)
        drawn = self._draw(day)
        happened = _delivered(drawn, react(drawn))
        arrived, self._pending = self._pending.merged(happened).split(day.next.midnight)
        sessions, bots = len(drawn.sessions), int(drawn.sessions.bot.sum())
        truth = _truth(arrived, sessions=sessions, bots=bots, new_items=launched, items=len(catalogue))
        return DayOfLogs(day.date, arrived.lines, truth, self._feed.rows_of(day, catalogue))

    def _draw(self, day: Day) -> DrawnDay:
        affinity = affinity_of(self._catalogue, day)
        self._shoppers.drift(day, affinity.demand)
        sessions = sessions_of(day, self._shoppers, affinity)
        return DrawnDay(day, self._catalogue, self._shoppers, sessions, events_of(day, sessions))


def simulate(options: ShopOptions) -> Iterator[DayOfLogs]:
    """Simulate a shop's logs day by day.

    A day's logs do not depend on how many days follow, unless the shop is eventful. Rows that are still on
    their way when the last day ends are not delivered.
    """
    shop = Shop(options)
    for _ in range(options.days):
        yield shop.next_day()


def _delivered(drawn: DrawnDay, events: Events) -> Deliveries:
    """Write the events as lines, and delay, damage and repeat some of them on their way."""
    day = drawn.day
    fates = fates_of(day, events.session, events.occurred)
    lines = lines_of(day, drawn.catalogue, drawn.shoppers, drawn.sessions, events, received=fates.received)
    return deliver(day, lines, fates)


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
