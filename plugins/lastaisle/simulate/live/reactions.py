"""How simulated shoppers react to a list: every number of it, and the true chance of a click on an item.

The chance that a shopper clicks an item is a product. The shopper looks at its position, is attracted by the
item, minds the price, and is tired of an item that was shown to the same shopper before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np

from lastaisle.simulate.affinity import NEARNESS
from lastaisle.simulate.catalogue import Catalogue
from lastaisle.simulate.draws import Floats, Ints
from lastaisle.simulate.events import COMPLETING, REPORTING
from lastaisle.simulate.lines import item_name, item_number
from lastaisle.simulate.options import ShopOptionsError

SHARES: Final = (
    *("patience", "attraction", "on_shelf", "off_shelf", "off_style", "fatigue", "forgetting"),
    *("adding", "completing", "satisfaction", "weariness", "reporting", "telling"),
)
_CENT: Final = 0.01


@dataclass(frozen=True)
class Reactions:
    """The numbers of the reactions. Shares and chances are fractions in [0, 1].

    Attributes:
        on_mobile: items of a list that a phone shows at once.
        on_desktop: items that a desktop shows at once.
        on_tablet: items that a tablet shows at once.
        patience: share of the lists that a shopper scrolls to their end.
        position_bias: a shopper looks at position r with the chance 1 / r ** position_bias.
        attraction: chance of a click on an ideal item that the shopper looks at.
        on_shelf: attraction of an item of the right shelf that is far from the session's items, as a share of
            the attraction of the nearest item.
        off_shelf: the same share for an item of a shelf that the session has not visited.
        off_style: factor for an item of another style than the session's hidden style.
        price_pull: an item that costs c times the mean price of the cart keeps c ** -price_pull of its
            attraction, if it is dearer.
        fatigue: factor for each time that the item was shown to the same shopper before.
        forgetting: share of these times that a shopper forgets from one day to the next.
        adding: chance that a clicked item goes into the cart.
        dwell_seconds: median time on the page of a clicked item.
        completing: chance that a checkout becomes an order, before the lists change it.
        satisfaction: added to that chance if the shopper took an item of a list into the cart.
        weariness: taken from that chance, times the share of the items on the checkout's screen that the
            shopper had seen in a list before.
        reporting: share of the abandoned checkouts for which the shop sends checkout_abandoned.
        telling: share of the shoppers whose additions and orders are sent as feedback too.
    """

    on_mobile: int = 4
    on_desktop: int = 8
    on_tablet: int = 6
    patience: float = 0.25
    position_bias: float = 0.6
    attraction: float = 0.5
    on_shelf: float = 0.3
    off_shelf: float = 0.08
    off_style: float = 0.35
    price_pull: float = 0.5
    fatigue: float = 0.8
    forgetting: float = 0.4
    adding: float = 0.4
    dwell_seconds: float = 20.0
    completing: float = COMPLETING
    satisfaction: float = 0.12
    weariness: float = 0.06
    reporting: float = REPORTING
    telling: float = 0.3

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            most = 1.0 if field.name in SHARES else np.inf
            least = 1 if field.name.startswith("on_") and field.name not in SHARES else 0
            if not least <= value <= most or not np.isfinite(value):
                wanted = "a share between 0 and 1" if field.name in SHARES else f"at least {least}"
                raise ShopOptionsError(f"{field.name} should be {wanted}, received {value}")

    def on_screen(self, device: str) -> int:
        """Return how many items a device shows at once."""
        return int(getattr(self, f"on_{device}"))

    def examination(self, positions: Ints) -> Floats:
        """Return the chance that a shopper looks at each position; 1 is the top."""
        looked: Floats = positions.astype(np.float64) ** -self.position_bias
        return looked


@dataclass(frozen=True)
class Moment:
    """A moment at which a page shows a list: all that the reactions to any list depend on.

    Attributes:
        session: number of the session on its day.
        placement: where the list is shown.
        arm: the arm of the shopper.
        consents: whether the shopper agrees to personalization; without it no feedback is kept.
        style: the hidden style of the session.
        items: the items that the session has viewed so far, as numbers, oldest first.
        cart: the items in the cart, as numbers.
        on_screen: how many items of the list come on the screen.
        shown_before: how often each item was shown to the same shopper before; a day makes it less.
    """

    session: int
    placement: str
    arm: str
    consents: bool
    style: int
    items: tuple[int, ...]
    cart: tuple[int, ...]
    on_screen: int
    shown_before: Mapping[int, float]


@dataclass(frozen=True)
class Taste:
    """What attracts the shoppers of one day: the truth that no model and no page knows.

    Attributes:
        reactions: the numbers of the reactions.
        shelf: [n_items] as in Catalogue, and so are `style` and `position`.
        price: [n_items] in EUR.
    """

    reactions: Reactions
    shelf: Ints
    style: Ints
    position: Floats
    price: Floats

    def chances(self, moment: Moment, items: Sequence[str]) -> Floats:
        """Return the true chance of a click on each item that comes on the screen.

        Args:
            moment: the moment.
            items: the ids of a list, best first. An id that the shop does not have has the chance 0, and so
                has an item that is in the cart.

        Returns:
            [min(len(items), moment.on_screen)] chances, independent of each other.
        """
        numbers = self.numbers(items[: moment.on_screen])
        known = (numbers >= 0) & ~np.isin(numbers, moment.cart)
        chances = np.zeros(len(numbers))
        kept = numbers[known]
        times = np.array([moment.shown_before.get(item, 0.0) for item in kept.tolist()])
        attracted = self.reactions.attraction * self.affinity(moment, kept) * self._price_factor(moment, kept)
        looked = self.reactions.examination(np.flatnonzero(known) + 1)
        chances[known] = looked * attracted * self.reactions.fatigue**times
        return chances

    def affinity(self, moment: Moment, items: Ints) -> Floats:
        """Say how well items go with a session, from 0 to 1: by shelf, nearness and style.

        It is the same truth that the items of sessions are drawn from.
        """
        seen = np.array(moment.items, dtype=np.int64)
        same_shelf = self.shelf[items][:, None] == self.shelf[seen][None, :]
        distance = ((self.position[items][:, None, :] - self.position[seen][None, :, :]) ** 2).sum(axis=2)
        near = np.where(same_shelf, np.exp(-distance / (2 * NEARNESS**2)), 0.0).max(axis=1, initial=0.0)
        reactions = self.reactions
        by_place = np.where(
            same_shelf.any(axis=1), reactions.on_shelf + (1 - reactions.on_shelf) * near, reactions.off_shelf
        )
        fits: Floats = by_place * np.where(self.style[items] == moment.style, 1.0, reactions.off_style)
        return fits

    def numbers(self, items: Sequence[str]) -> Ints:
        """Return the numbers of items; -1 for an id that the shop does not have."""
        found = np.array([item_number(item) for item in items], dtype=np.int64)
        return np.where(found < len(self.shelf), found, -1)

    def best(self, moment: Moment, count: int) -> list[str]:
        """Return the items that attract a session most: the best list that there is."""
        every = np.arange(len(self.shelf))
        value = self.affinity(moment, every) * self._price_factor(moment, every)
        value[np.array(moment.cart, dtype=np.int64)] = -1.0
        return [item_name(item) for item in np.argsort(-value, kind="stable")[:count].tolist()]

    def _price_factor(self, moment: Moment, items: Ints) -> Floats:
        if not moment.cart:
            return np.ones(len(items))
        level = max(float(self.price[np.array(moment.cart, dtype=np.int64)].mean()), _CENT)
        factor: Floats = np.maximum(self.price[items] / level, 1.0) ** -self.reactions.price_pull
        return factor


def taste_of(catalogue: Catalogue, reactions: Reactions) -> Taste:
    """Return what attracts the shoppers of the catalogue's day."""
    return Taste(
        reactions,
        shelf=catalogue.shelf.copy(),
        style=catalogue.style.copy(),
        position=catalogue.position.copy(),
        price=catalogue.price,
    )
