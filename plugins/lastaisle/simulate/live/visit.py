"""One session that sees lists: its pages ask for them, and the shopper looks, clicks, adds and orders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from lastaisle.simulate.draws import Floats, choose, lognormal
from lastaisle.simulate.events import ABANDON, ADD, CHECKOUT, ORDER, PAGE, QUANTITIES, REMOVE, VIEW
from lastaisle.simulate.live.caller import Caller, View
from lastaisle.simulate.live.fatigue import Fatigue
from lastaisle.simulate.live.reactions import Moment, Taste
from lastaisle.simulate.live.service import ListOfItems

CART: Final = "cart"
CHECKOUT_PAGE: Final = "checkout"
_LOADING_MS: Final = (1000, 2500)  # until a list is on the screen
_LOOKING_MS: Final = (1500, 4000)  # from position to position, until a click
_DECIDING_MS: Final = (30_000, 300_000)  # from the checkout to its end
_AFTER_MS: Final = 5000  # from the last page to a checkout, at least
_DWELL_SIGMA: Final = 0.8
_LONGEST_DWELL: Final = 300.0  # seconds; with the pause of a drawn session it stays under half an hour
_FARTHEST: Final = 10  # the position from which a shopper takes no longer to get there

Row = tuple[int, int, int, int, int, int]
"""An event: kind, session, occurred, item, quantity and dwell, as in `Events`."""


@dataclass
class Page:
    """A page that asked for a list, and what the shopper did with the list.

    Attributes:
        moment: the moment at which the page asked.
        listed: the list; None if the service gave none.
        chances: [n_shown] the true chance of a click on each item on the screen.
        clicked: the clicked positions; 1 is the top.
        added: the positions whose items went into the cart.
        quantities: pieces of ordered items, by position.
        stored: rows that the service stored, by kind and position.
    """

    moment: Moment
    listed: ListOfItems | None
    chances: Floats
    clicked: list[int] = field(default_factory=list)
    added: list[int] = field(default_factory=list)
    quantities: dict[int, int] = field(default_factory=dict)
    stored: Counter[tuple[str, int]] = field(default_factory=Counter)

    @property
    def arm(self) -> str:
        """The arm of the service that made the list, else the shop's own arm."""
        return self.listed.arm if self.listed and self.listed.arm else self.moment.arm

    @property
    def shown(self) -> tuple[str, ...]:
        """The ids on the screen."""
        return self.listed.items[: len(self.chances)] if self.listed else ()


@dataclass(frozen=True)
class Shopfront:
    """All that the sessions of a day share.

    Attributes:
        taste: what attracts the shoppers.
        fatigue: what was shown to each shopper before.
        count: how many items a page asks for.
        spoiled: for versions whose lists the page shows badly, what is left of the chance of a click.
        ask: returns the list that answers the question of a name; None without a list.
        tell: sends feedback; returns the number of stored rows, or None.
        wait_until: waits until a moment in milliseconds since the epoch.
    """

    taste: Taste
    fatigue: Fatigue
    count: int
    spoiled: Mapping[str, float]
    ask: Callable[[str, dict[str, Any]], Awaitable[ListOfItems | None]]
    tell: Callable[[Sequence[dict[str, Any]]], Awaitable[int | None]]
    wait_until: Callable[[int], Awaitable[None]]


class Visit:
    """A session with something in the cart.

    Attributes:
        caller: the shopper.
        rows: the events of the session, with those that the lists caused.
        pages: the pages that asked for lists.
        cart: pieces of each item in the cart.
        order_chance: the true chance that the checkout becomes an order; None without a checkout.
        has_ordered: whether it became one.
    """

    def __init__(
        self,
        front: Shopfront,
        caller: Caller,
        rng: np.random.Generator,
        *,
        session: int,
        shopper: int,
        style: int,
    ) -> None:
        self.caller = caller
        self.rows: list[Row] = []
        self.pages: list[Page] = []
        self.cart: dict[int, int] = {}
        self.order_chance: float | None = None
        self.has_ordered = False
        self._front = front
        self._rng = rng
        self._session, self._shopper, self._style = session, shopper, style
        self._views: list[View] = []
        self._delay = 0  # milliseconds that the lists have taken so far

    async def walk(self, rows: Sequence[Row]) -> None:
        """Go through the session as it was drawn; clicks delay its later events.

        The end of a checkout is drawn anew, because it depends on the lists.
        """
        for kind, _, occurred, item, quantity, dwell in rows:
            at = occurred + self._delay
            if kind == ADD and item not in self.cart:  # a list may have brought it there
                self.cart[item] = quantity
                self._add_row(ADD, at, item=item, quantity=quantity)
                self._delay += await self._show_list(CART, at) - at
            elif kind == REMOVE and item in self.cart:
                self._add_row(REMOVE, at, item=item, quantity=self.cart.pop(item))
            elif kind in (PAGE, VIEW):
                self._add_row(kind, at, item=item, dwell=dwell)
        started = [occurred for kind, _, occurred, *_ in rows if kind == CHECKOUT]
        if started and self.cart:
            last = max(at for _, _, at, *_ in self.rows)
            await self._check_out(max(started[0] + self._delay, last + _AFTER_MS))

    async def _check_out(self, at: int) -> None:
        reactions, rng = self._front.taste.reactions, self._rng
        self._add_row(CHECKOUT, at)
        ended = await self._show_list(CHECKOUT_PAGE, at) + int(rng.integers(*_DECIDING_MS))
        took = any(page.added for page in self.pages)
        chance = reactions.completing + reactions.satisfaction * took
        chance -= reactions.weariness * self._tired(self.pages[-1])
        self.order_chance = min(max(chance, 0.0), 1.0)
        self.has_ordered = bool(rng.random() < self.order_chance)
        if self.has_ordered:
            for item, quantity in self.cart.items():
                self._add_row(ORDER, ended, item=item, quantity=quantity)
            await self._order_taken(ended)
        elif rng.random() < reactions.reporting:
            self._add_row(ABANDON, ended)

    async def _show_list(self, placement: str, at: int) -> int:
        """Show a list on a page that opens at a moment; return the moment at which the shopper goes on."""
        front, rng = self._front, self._rng
        opened, at = at, at + int(rng.integers(*_LOADING_MS))
        await front.wait_until(at)
        moment = self._moment(placement)
        question = self.caller.question(placement, self._views, list(self.cart), front.count)
        listed = await front.ask(f"{self._session}/{len(self.pages)}", question)
        chances = front.taste.chances(moment, listed.items if listed else ())
        chances *= front.spoiled.get(listed.version, 1.0) if listed else 1.0
        page = Page(moment, listed, chances)
        self.pages.append(page)
        clicks = np.flatnonzero(rng.random(len(chances)) < chances) + 1
        if not len(chances):
            return opened
        await self._tell(page, [("shown", range(1, len(chances) + 1), at)])
        numbers = front.taste.numbers(page.shown).tolist()
        front.fatigue.show(self._shopper, [item for item in numbers if item >= 0])
        for position in clicks.tolist():
            at += int(min(position, _FARTHEST) * rng.integers(*_LOOKING_MS))
            at = await self._click(page, position, numbers[position - 1], at)
        return at if len(clicks) else opened

    async def _click(self, page: Page, position: int, item: int, at: int) -> int:
        """Look at a clicked item, and perhaps add it; return the moment at which the shopper goes on."""
        reactions, rng = self._front.taste.reactions, self._rng
        seconds = min(1.0 + lognormal(rng, reactions.dwell_seconds, _DWELL_SIGMA, 1)[0], _LONGEST_DWELL)
        dwell, thinking = int(1000 * seconds), 0.2 + 0.6 * rng.random()
        quantity, adds = 1 + int(choose(rng, QUANTITIES, 1)[0]), rng.random() < reactions.adding
        page.clicked.append(position)
        self._add_row(VIEW, at, item=item, dwell=dwell)
        told = [("clicked", [position], at)]
        if adds and item not in self.cart:  # a list may name an item twice
            added_at = at + int(dwell * thinking)
            page.added.append(position)
            self.cart[item] = quantity
            self._add_row(ADD, added_at, item=item, quantity=quantity)
            told += [("added", [position], added_at)] if self.caller.tells else []
        await self._front.wait_until(at)
        await self._tell(page, told)
        return at + dwell

    async def _order_taken(self, at: int) -> None:
        """Note which ordered items came from lists, and say so if the page does."""
        await self._front.wait_until(at)
        for page in self.pages:
            numbers = self._front.taste.numbers(page.shown).tolist()
            taken = [position for position in page.added if numbers[position - 1] in self.cart]
            page.quantities = {position: self.cart[numbers[position - 1]] for position in taken}
            if taken and self.caller.tells:
                await self._tell(page, [("bought", taken, at)])

    async def _tell(self, page: Page, told: Sequence[tuple[str, Sequence[int], int]]) -> None:
        """Send feedback of several kinds; note what the service stored of it."""
        if page.listed is None:
            return
        listed, placement = page.listed, page.moment.placement
        bodies = [
            self.caller.feedback(kind, listed, placement, positions, at) for kind, positions, at in told
        ]
        if await self._front.tell(bodies):
            page.stored.update((kind, position) for kind, positions, _ in told for position in positions)

    def _moment(self, placement: str) -> Moment:
        reactions = self._front.taste.reactions
        scrolls = self._rng.random() < reactions.patience
        on_screen = reactions.on_screen(self.caller.context["device_type"])
        return Moment(
            session=self._session,
            placement=placement,
            arm=self.caller.arm,
            consents=self.caller.is_personal,
            style=self._style,
            items=tuple(view.item for view in self._views),
            cart=tuple(self.cart),
            on_screen=max(self._front.count, on_screen) if scrolls else on_screen,
            shown_before=self._front.fatigue.of(self._shopper),
        )

    def _tired(self, page: Page) -> float:
        """Return the share of the items on the screen that the shopper had seen in a list before."""
        numbers = self._front.taste.numbers(page.shown).tolist()
        seen = [page.moment.shown_before.get(item, 0.0) > 0 for item in numbers]
        return sum(seen) / len(seen) if seen else 0.0

    def _add_row(self, kind: int, at: int, *, item: int = -1, quantity: int = 0, dwell: int = -1) -> None:
        """Note an event; a view is part of what the page knows of the session."""
        self.rows.append((kind, self._session, at, item, quantity, dwell))
        if kind == VIEW:
            self._views.append(View(item, dwell, float(self._front.taste.price[item])))
