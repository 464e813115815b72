"""The simulated shoppers: where they are, what they like, how that drifts, and what they consent to."""

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
    """Everybody who has come to the shop so far; all arrays [n_shoppers] unless said otherwise.

    Attributes:
        tastes: [n_shoppers, TASTES] shelves, the favourite first.
        style: the style a shopper usually looks for.
        activity: how often a shopper comes back, as a weight.
        place: index into PLACES.
        device: index into DEVICES, the usual one.
        analytics: consents to analytics.
        personalization: consents to personalization; never without analytics.
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
        """Draw the shopper of each session: old shoppers by activity, and new ones."""
        new = rng.random(sessions) < NEW_SHARE
        who = choose(rng, self.activity, sessions)
        who[new] = len(self) + np.arange(int(new.sum()))
        self.welcome(rng, int(new.sum()), demand)
        return who

    def welcome(self, rng: np.random.Generator, count: int, demand: Floats) -> None:
        """Add new shoppers, their tastes drawn by demand."""
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
        """Let some shoppers find a new favourite shelf and, more rarely, a new style."""
        rng = day.generator(Part.TASTES)
        changed = np.flatnonzero(rng.random(len(self)) < day.options.taste_drift)
        self.tastes[changed] = np.c_[choose(rng, demand, len(changed)), self.tastes[changed, : TASTES - 1]]
        restyled = changed[rng.random(len(changed)) < 0.3]
        self.style[restyled] = rng.integers(STYLES, size=len(restyled))

    def shelf_for(self, rng: np.random.Generator, who: Ints, demand: Floats) -> Ints:
        """Draw the shelf of each session: mostly a taste of its shopper, sometimes a shelf in demand."""
        taste = self.tastes[who, choose(rng, TASTE_WEIGHTS, len(who))]
        return np.where(rng.random(len(who)) < 0.8, taste, choose(rng, demand, len(who)))

    def style_for(self, rng: np.random.Generator, who: Ints) -> Ints:
        """Draw the style of each session: mostly its shopper's."""
        other = rng.integers(STYLES, size=len(who))
        return np.where(rng.random(len(who)) < 0.8, self.style[who], other)


def open_doors(options: ShopOptions, demand: Floats) -> Shoppers:
    """Make the shoppers who already know the shop on the first day."""
    nobody, flags = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=bool)
    shoppers = Shoppers(
        np.zeros((0, TASTES), dtype=np.int64), nobody, np.zeros(0), nobody, nobody, flags, flags
    )
    shoppers.welcome(Day(options, 0).generator(Part.SHOPPERS), POOL_DAYS * options.sessions_per_day, demand)
    return shoppers
