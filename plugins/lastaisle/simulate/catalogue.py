"""The simulated catalogue: shelves, brands, prices, a long tail of popularity, seasons and launches."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np

from lastaisle.simulate.draws import Bools, Floats, Ints
from lastaisle.simulate.options import Day, Part, ShopOptions

# Category, median price in EUR, day of the year with the most demand, strength of the season (in log demand).
CATEGORIES: tuple[tuple[str, float, int, float], ...] = (
    ("audio.headphones", 59.0, 345, 0.5),
    ("audio.speakers", 89.0, 345, 0.4),
    ("phones.cases", 14.0, 290, 0.2),
    ("phones.smartphones", 349.0, 330, 0.4),
    ("computers.keyboards", 49.0, 250, 0.3),
    ("computers.monitors", 219.0, 250, 0.3),
    ("kitchen.coffee", 79.0, 340, 0.4),
    ("kitchen.knives", 39.0, 345, 0.3),
    ("home.lamps", 45.0, 320, 0.5),
    ("home.bedding", 55.0, 20, 0.4),
    ("garden.tools", 29.0, 110, 1.2),
    ("garden.furniture", 149.0, 150, 1.4),
    ("sports.running", 85.0, 120, 0.6),
    ("sports.ski", 129.0, 350, 1.6),
    ("sports.cycling", 65.0, 140, 0.9),
    ("fashion.coats", 119.0, 310, 1.2),
    ("fashion.shirts", 29.0, 170, 0.6),
    ("fashion.shoes", 79.0, 260, 0.4),
    ("toys.building", 34.0, 340, 1.1),
    ("toys.games", 27.0, 345, 1.0),
    ("books.novels", 16.0, 335, 0.5),
    ("books.travel", 19.0, 150, 0.7),
    ("beauty.skin", 23.0, 335, 0.3),
    ("pets.food", 18.0, 30, 0.1),
)
STYLES = 4
STYLE_PRICE = np.array([0.65, 1.0, 1.9, 1.15])
BRANDS_PER_SHELF = 8
ITEMS_PER_SHELF = 80
POSITION_SIZE = 3
POPULARITY_SPREAD = 0.95
BESTSELLERS = 0.1
BESTSELLER_BOOST = 3.2
LAUNCH_BOOST = 1.2
LAUNCH_DAYS = 8.0
PROMOTED_SHARE = 0.01
PROMOTION_BOOST = 1.3
PROMOTION_PRICE = 0.8


@dataclass
class Catalogue:
    """The items of the shop on one day; `open_day` moves the catalogue to the next day.

    Arrays have one entry for each item, [n_items], in order of launch, unless a shape is given.

    Attributes:
        shelf: the shelf an item stands on; shelf s belongs to category s modulo the number of categories.
        brand: number of the brand, 0 to BRANDS_PER_SHELF - 1, on its shelf.
        style: number of the style that the brand serves, 0 to STYLES - 1; logs show it only through shoppers'
            choices.
        position: [n_items, POSITION_SIZE] place on the shelf; an item near another often follows it.
        base: log popularity when nothing special happens.
        trend: how far the item's popularity has drifted from base.
        launched: number of the day of the launch; far in the past for the first items.
        list_price: price in EUR on a day without promotion.
        promoted: whether the item is on promotion today.
        shelf_base: [n_shelves] log demand of a shelf without its season.
        shelf_trend: [n_shelves] how far fashion has moved the demand of a shelf.
    """

    shelf: Ints
    brand: Ints
    style: Ints
    position: Floats
    base: Floats
    trend: Floats
    launched: Ints
    list_price: Floats
    promoted: Bools
    shelf_base: Floats
    shelf_trend: Floats

    def __len__(self) -> int:
        return len(self.shelf)

    @property
    def n_shelves(self) -> int:
        """Number of shelves; it never changes."""
        return len(self.shelf_base)

    @property
    def price(self) -> Floats:
        """Today's prices in EUR, rounded to cents."""
        return np.maximum(np.round(np.where(self.promoted, PROMOTION_PRICE, 1.0) * self.list_price, 2), 0.5)

    def category(self, item: int) -> str:
        """Name the category of an item."""
        return CATEGORIES[int(self.shelf[item]) % len(CATEGORIES)][0]

    def log_popularity(self, day: int) -> Floats:
        """Weigh the items of a shelf against each other on a day, in logarithms."""
        age = np.maximum(day - self.launched, 0)
        launch = LAUNCH_BOOST * np.exp(-age / LAUNCH_DAYS)
        popularity: Floats = self.base + self.trend + launch + PROMOTION_BOOST * self.promoted
        return popularity

    def shelf_weights(self, today: date) -> Floats:
        """Weigh the shelves against each other on a date: base demand, fashion and season, [n_shelves]."""
        rows = [CATEGORIES[shelf % len(CATEGORIES)] for shelf in range(self.n_shelves)]
        peak = np.array([row[2] for row in rows])
        strength = np.array([row[3] for row in rows])
        season = strength * np.cos(2 * np.pi * (today.timetuple().tm_yday - peak) / 365.25)
        weights: Floats = np.exp(self.shelf_base + self.shelf_trend + season)
        return weights

    def open_day(self, day: Day) -> int:
        """Launch the day's items, let popularity drift and choose the day's promotions.

        Returns:
            The number of launched items.
        """
        rng = day.generator(Part.LAUNCHES)
        launches = day.options.new_items_per_day if day.number else 0
        self.launch(rng, launches, day.number)
        self.trend = 0.95 * self.trend + 0.12 * rng.standard_normal(len(self))
        self.shelf_trend = 0.97 * self.shelf_trend + 0.10 * rng.standard_normal(self.n_shelves)
        self.promoted = rng.random(len(self)) < PROMOTED_SHARE
        return launches

    def launch(self, rng: np.random.Generator, count: int, day: int) -> None:
        """Launch items on a day, on random shelves."""
        shelf = rng.integers(self.n_shelves, size=count)
        if not len(self):
            shelf[: self.n_shelves] = np.arange(self.n_shelves)  # no shelf starts empty
        brand = rng.integers(BRANDS_PER_SHELF, size=count)
        style = brand % STYLES
        median = np.array([CATEGORIES[s % len(CATEGORIES)][1] for s in shelf])
        price = median * STYLE_PRICE[style] * np.exp(0.35 * rng.standard_normal(count))
        self.shelf = np.r_[self.shelf, shelf]
        self.brand = np.r_[self.brand, brand]
        self.style = np.r_[self.style, style]
        self.position = np.r_[self.position, rng.standard_normal((count, POSITION_SIZE))]
        bestseller = rng.random(count) < BESTSELLERS
        popularity = POPULARITY_SPREAD * rng.standard_normal(count) + BESTSELLER_BOOST * bestseller
        self.base = np.r_[self.base, popularity]
        self.trend = np.r_[self.trend, np.zeros(count)]
        self.launched = np.r_[self.launched, np.full(count, day, dtype=np.int64)]
        self.list_price = np.r_[self.list_price, np.floor(np.maximum(price, 2.0)) + 0.9]
        self.promoted = np.r_[self.promoted, np.zeros(count, dtype=bool)]


def open_catalogue(options: ShopOptions) -> Catalogue:
    """Make the catalogue with its first items, as they are before the first day."""
    rng = Day(options, 0).generator(Part.CATALOGUE)
    shelves = max(len(CATEGORIES), round(options.items / ITEMS_PER_SHELF))
    integers, floats = np.zeros(0, dtype=np.int64), np.zeros(0)
    catalogue = Catalogue(
        shelf=integers,
        brand=integers,
        style=integers,
        position=np.zeros((0, POSITION_SIZE)),
        base=floats,
        trend=floats,
        launched=integers,
        list_price=floats,
        promoted=np.zeros(0, dtype=bool),
        shelf_base=0.45 * rng.standard_normal(shelves),
        shelf_trend=np.zeros(shelves),
    )
    catalogue.launch(rng, options.items, day=-1000)
    return catalogue
