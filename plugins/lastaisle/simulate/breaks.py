"""The events of an eventful shop beside its seasons: a launch, a price shock, a break of tastes."""

from __future__ import annotations

import numpy as np

from lastaisle.simulate.catalogue import POSITION_SIZE, STYLES, Catalogue
from lastaisle.simulate.options import Day, Part
from lastaisle.simulate.shoppers import TASTES, Shoppers

LAUNCHED = 0.15  # new items at once, as a share of the catalogue
PRICE_RISE = 1.3
DEARER = 0.8  # log popularity lost by an item e times as dear as its shelf's median, once prices have risen
CHANGED = 0.5  # share of the shoppers, and of the brands, that a break of tastes changes


def break_days(days: int) -> dict[str, int]:
    """Return the day of each event; 0 is the first day."""
    return {"launch": days // 3, "price_shock": days // 2, "taste_break": 3 * days // 4}


def strike(day: Day, catalogue: Catalogue, shoppers: Shoppers) -> int:
    """Apply the events of the day to an eventful shop; return how many items were launched."""
    if not day.options.eventful:
        return 0
    on = break_days(day.options.days)
    rng = day.generator(Part.BREAKS)
    if day.number == on["price_shock"]:
        raise_prices(catalogue)
    if day.number == on["taste_break"]:
        change_tastes(rng, catalogue, shoppers)
    if day.number != on["launch"]:
        return 0
    count = round(LAUNCHED * len(catalogue))
    catalogue.launch(rng, count, day.number)
    return count


def raise_prices(catalogue: Catalogue) -> None:
    """Raise all prices; shoppers then turn to the cheaper items of each shelf."""
    prices = np.log(catalogue.list_price)
    for shelf in range(catalogue.n_shelves):
        on_it = catalogue.shelf == shelf
        if on_it.any():
            catalogue.base[on_it] -= DEARER * (prices[on_it] - np.median(prices[on_it]))
    catalogue.list_price = PRICE_RISE * catalogue.list_price


def change_tastes(rng: np.random.Generator, catalogue: Catalogue, shoppers: Shoppers) -> None:
    """Give some shoppers other tastes, and let some brands serve another style and go with other items."""
    changed = rng.random(len(shoppers)) < CHANGED
    shoppers.tastes[changed] = rng.integers(catalogue.n_shelves, size=(int(changed.sum()), TASTES))
    shoppers.style[changed] = rng.integers(STYLES, size=int(changed.sum()))
    brands = int(catalogue.brand.max()) + 1
    moved = rng.random((catalogue.n_shelves, brands)) < CHANGED
    by = rng.integers(1, STYLES, size=moved.shape) * moved
    catalogue.style = (catalogue.style + by[catalogue.shelf, catalogue.brand]) % STYLES
    elsewhere = moved[catalogue.shelf, catalogue.brand]
    catalogue.position[elsewhere] = rng.standard_normal((int(elsewhere.sum()), POSITION_SIZE))
