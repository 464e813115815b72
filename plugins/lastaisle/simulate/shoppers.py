"""The simulated shoppers: their places, their tastes, the drift of the tastes, and their consent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lastaisle.simulate.catalogue import STYLES
from lastaisle.simulate.draws import Bools, Floats, Ints, choose
from lastaisle.simulate.options import Day, Part, ShopOptions

# Country, its weight, and some of its first-level subdivisions (ISO 3166-2).
COUNTRIES: tuple[tuple[str, float, tuple[str, ...]], ...] = (
    ("DE", 0.46, ("DE-BE", "DE-BY", "DE-HH", "DE-NW", "DE-SN")),
    ("AT", 0.12, ("AT-9", "AT-6", "AT-5")),
    ("CH", 0.08, ("CH-ZH", "CH-BE", "CH-GE")),
    ("FR", 0.12, ("FR-IDF", "FR-ARA", "FR-PAC")),
    ("NL", 0.10, ("NL-NH", "NL-ZH")),
    ("PL", 0.07, ("PL-14", "PL-12")),
    ("DK", 0.05, ("DK-84", "DK-82")),
)
PLACES = tuple((country, region) for country, _, regions in COUNTRIES for region in regions)
PLACE_WEIGHTS = tuple(weight / len(regions) for _, weight, regions in COUNTRIES for _ in regions)
DEVICES = ("mobile", "desktop", "tablet")
DEVICE_WEIGHTS = (0.58, 0.35, 0.07)
TASTES = 3
TASTE_WEIGHTS = np.array([0.6, 0.28, 0.12])
POOL_DAYS = 3
NEW_SHARE = 0.35
NO_ANALYTICS = 0.03
NO_PERSONALIZATION = 0.08


@dataclass
class Shoppers:
    """All shoppers who have come to the shop so far; arrays are [n_shoppers] unless a shape is given.

    Attributes:
        tastes: [n_shoppers, TASTES] shelves, the favourite first.
        style: the usual style of a shopper's sessions.
        activity: weight by which a shopper is drawn to come back.
        place: index into PLACES.
        device: index into DEVICES, of the usual device.
        analytics: whether a shopper consents to analytics.
        personalization: whether a shopper consents to personalization; this needs consent to analytics.
    """

    tastes: Ints
    style: Ints
    activity: Floats
    place: Ints
    device: Ints
    analytics: Bools
    personalization: Bools

    def __len__(self) -> int:
        return len(self.style)

    def arrive(self, rng: np.random.Generator, sessions: int, demand: Floats) -> Ints:
        """Draw the shopper of each session: earlier shoppers by their activity, and new shoppers."""
        is_new = rng.random(sessions) < NEW_SHARE
        shopper = choose(rng, self.activity, sessions)
        shopper[is_new] = len(self) + np.arange(int(is_new.sum()))
        self.add(rng, int(is_new.sum()), demand)
        return shopper

    def add(self, rng: np.random.Generator, count: int, demand: Floats) -> None:
        """Add new shoppers, whose tastes are drawn by demand."""
        self.tastes = np.r_[self.tastes, choose(rng, demand, count * TASTES).reshape(count, TASTES)]
        self.style = np.r_[self.style, rng.integers(STYLES, size=count)]
        self.activity = np.r_[self.activity, rng.pareto(1.8, size=count) + 0.3]
        self.place = np.r_[self.place, choose(rng, PLACE_WEIGHTS, count)]
        self.device = np.r_[self.device, choose(rng, DEVICE_WEIGHTS, count)]
        analytics = rng.random(count) >= NO_ANALYTICS
        self.analytics = np.r_[self.analytics, analytics]
        self.personalization = np.r_[
            self.personalization, analytics & (rng.random(count) >= NO_PERSONALIZATION)
        ]

    def drift(self, day: Day, demand: Floats) -> None:
        """Give some shoppers a new favourite shelf, and fewer shoppers a new style."""
        rng = day.generator(Part.TASTES)
        changed = np.flatnonzero(rng.random(len(self)) < day.options.taste_drift)
        self.tastes[changed] = np.c_[choose(rng, demand, len(changed)), self.tastes[changed, : TASTES - 1]]
        restyled = changed[rng.random(len(changed)) < 0.3]
        self.style[restyled] = rng.integers(STYLES, size=len(restyled))

    def shelf_for(self, rng: np.random.Generator, shopper: Ints, demand: Floats) -> Ints:
        """Draw the shelf of each session: often a taste of its shopper, sometimes any shelf by demand."""
        taste = self.tastes[shopper, choose(rng, TASTE_WEIGHTS, len(shopper))]
        return np.where(rng.random(len(shopper)) < 0.8, taste, choose(rng, demand, len(shopper)))

    def style_for(self, rng: np.random.Generator, shopper: Ints) -> Ints:
        """Draw the style of each session: often its shopper's style."""
        other = rng.integers(STYLES, size=len(shopper))
        return np.where(rng.random(len(shopper)) < 0.8, self.style[shopper], other)


def first_shoppers(options: ShopOptions, demand: Floats) -> Shoppers:
    """Make the shoppers who already know the shop on the first day."""
    no_indices, no_flags = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=bool)
    shoppers = Shoppers(
        np.zeros((0, TASTES), dtype=np.int64),
        no_indices,
        np.zeros(0),
        no_indices,
        no_indices,
        no_flags,
        no_flags,
    )
    shoppers.add(Day(options, 0).generator(Part.SHOPPERS), POOL_DAYS * options.sessions_per_day, demand)
    return shoppers
