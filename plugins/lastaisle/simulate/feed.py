"""The feed of the simulated catalogue: one row each change of an item, with the time from which it counts."""

from __future__ import annotations

import json

import numpy as np

from lastaisle.simulate.catalogue import Catalogue
from lastaisle.simulate.lines import item_name, timestamps
from lastaisle.simulate.options import Day, Part

SOLD_OUT = 0.01  # share of the available items that sell out before a day
BACK = 0.3  # share of the sold-out items that are back on a day


class Feed:
    """The states of the items that the feed wrote last.

    The stock has random numbers of its own, so the events of a shop do not depend on it.
    """

    def __init__(self) -> None:
        self._available = np.zeros(0, dtype=bool)
        self._written: dict[int, tuple[float, bool]] = {}

    def rows_of(self, day: Day, catalogue: Catalogue) -> list[str]:
        """Return the rows of the items that changed since the day before, as lines of JSON.

        On the first day these are all items. New items are available.
        """
        self._move_stock(day, len(catalogue))
        (since,) = timestamps(np.array([day.midnight]))
        rows = []
        states = zip(catalogue.price.tolist(), self._available.tolist(), strict=True)
        for item, (price, available) in enumerate(states):
            if self._written.get(item) == (price, available):
                continue
            self._written[item] = (price, available)
            rows.append(json.dumps(_row(catalogue, item, price, available, since)))
        return rows

    def _move_stock(self, day: Day, items: int) -> None:
        known = len(self._available)
        draws = day.generator(Part.STOCK).random(items)
        stock = np.ones(items, dtype=bool)
        stock[:known] = np.where(self._available, draws[:known] >= SOLD_OUT, draws[:known] < BACK)
        self._available = stock


def _row(catalogue: Catalogue, item: int, price: float, available: bool, since: str) -> dict[str, object]:
    category = catalogue.category(item)
    brand = f"sim-brand-{int(catalogue.shelf[item])}-{int(catalogue.brand[item])}"
    return {
        "item_id": item_name(item),
        "title": f"{category.rpartition('.')[2].capitalize()} {item} of {brand}",
        "category": category,
        "brand": brand,
        "price": round(price, 2),
        "currency": "EUR",
        "available": available,
        "url": f"https://shop.example/items/{item_name(item)}",
        "image": f"https://shop.example/images/{item_name(item)}.jpg",
        "valid_from": since,
    }
