"""The events of an eventful shop, beside its seasons: a launch, a price shock, a change of tastes."""

from __future__ import annotations

import numpy as np

from lastaisle.simulate.catalogue import POSITION_SIZE, STYLES, Catalogue
from lastaisle.simulate.options import Day, Part
from lastaisle.simulate.shoppers import TASTES, Shoppers

LAUNCHED = 0.15  # items launched on one day, as a share of the catalogue
PRICE_RISE = 1.3
DEARER = 0.8  # log popularity that the price rise takes from an item e times as dear as its shelf's median
CHANGED = 0.5  # share of the shoppers, and of the brands, that the change of tastes affects


def break_days(days: int) -> dict[str, int]:
    """Return the day of each event; 0 is the first day."""
    return {"launch": days // 3, "price_shock": days // 2, "taste_break": 3 * days // 4}


def apply_events(day: Day, catalogue: Catalogue, shoppers: Shoppers) -> int:
    """Apply the events of the day to an eventful shop; return the number of launched items."""
    if not day.options.eventful:
        return 0
    day_of = break_days(day.options.days)
    rng = day.generator(Part.BREAKS)
    if day.number == day_of["price_shock"]:
        raise_prices(catalogue)
    if day.number == day_of["taste_break"]:
        change_tastes(rng, catalogue, shoppers)
    if day.number != day_of["launch"]:
        return 0
    count = round(LAUNCHED * len(catalogue))
    catalogue.launch(rng, count, day.number)
    return count


def raise_prices(catalogue: Catalogue) -> None:
    """Raise all prices; shoppers then turn to the cheaper items of each shelf."""
    prices = np.log(catalogue.list_price)
    for shelf in range(catalogue.n_shelves):
        on_shelf = catalogue.shelf == shelf
        if on_shelf.any():
            catalogue.base[on_shelf] -= DEARER * (prices[on_shelf] - np.median(prices[on_shelf]))
    catalogue.list_price = PRICE_RISE * catalogue.list_price


def change_tastes(rng: np.random.Generator, catalogue: Catalogue, shoppers: Shoppers) -> None:
    """Give some shoppers new tastes, and move some brands to other styles and other places on their shelf."""
    changed = rng.random(len(shoppers)) < CHANGED
    shoppers.tastes[changed] = rng.integers(catalogue.n_shelves, size=(int(changed.sum()), TASTES))
    shoppers.style[changed] = rng.integers(STYLES, size=int(changed.sum()))
    brands = int(catalogue.brand.max()) + 1
    moved = rng.random((catalogue.n_shelves, brands)) < CHANGED
    style_shift = rng.integers(1, STYLES, size=moved.shape) * moved
    catalogue.style = (catalogue.style + style_shift[catalogue.shelf, catalogue.brand]) % STYLES
    moved_items = moved[catalogue.shelf, catalogue.brand]
    catalogue.position[moved_items] = rng.standard_normal((int(moved_items.sum()), POSITION_SIZE))
